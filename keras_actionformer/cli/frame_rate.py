"""What an option for a frame rate takes: a number, or a fraction as video tools print it."""

from absl import flags

from keras_actionformer.checks import frames_a_second
from keras_actionformer.errors import UserError


class FrameRate(flags.ArgumentParser):
    syntactic_help = "frames a second, such as 29.97 or 30000/1001"

    def parse(self, argument):
        try:
            return frames_a_second("A frame rate", argument)
        except UserError as error:
            raise ValueError(str(error)) from None

    def flag_type(self):
        return "float"
