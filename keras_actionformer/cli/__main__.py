"""`python -m keras_actionformer.cli VERB ...`, the same as the command `keras-actionformer`."""

from keras_actionformer.cli import main

main()
