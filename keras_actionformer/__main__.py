"""`python -m keras_actionformer VERB ...`, the same as the command `keras-actionformer`."""

from keras_actionformer.cli import main

main()
