"""Files of strangers, made up at random from sound ones, for every reader there is."""
