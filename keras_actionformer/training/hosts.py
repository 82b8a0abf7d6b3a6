"""How Keras is told of the processes that train together: by environment variables of its own."""

ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"  # host:port of the first process
NUM_PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
PROCESS_ID = "KERAS_DISTRIBUTION_PROCESS_ID"  # 0 is the first, which writes
