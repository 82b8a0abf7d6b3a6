"""What an option for a frame rate takes: a number, or a fraction as video tools print it."""

from absl import flags

from keras_actionformer.checks import read_rate


class FrameRate(flags.ArgumentParser):
    """Whether the number makes sense is told where it is used, as of one in Python."""

    syntactic_help = "frames a second, such as 29.97 or 30000/1001"

    def parse(self, argument):
        found = read_rate(argument) if isinstance(argument, str) else argument
        if found is None:
            raise ValueError(f"{argument!r} is no frame rate")
        return found

    def flag_type(self):
        return "float"
