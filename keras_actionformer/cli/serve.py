"""Serves an exported detector over HTTP, for machines without TensorFlow Serving.

  serve --model=exports/thumos14
  serve --model=exports/thumos14/3 --name=actions --host=0.0.0.0 --port=8501

Paths and JSON are those of TensorFlow Serving's REST API, so that its clients work unchanged:

  POST /v1/models/NAME:predict    {"instances": [{"feats": [[...], ...], "fps": 30}]}
  GET  /v1/models/NAME            whether it is there
  GET  /v1/models/NAME/metadata   what it takes and gives
  GET  /health                    answers once the model is loaded and warmed up

The sequences of a request may have different lengths. Whoever reaches the port may ask; but a web
page must be named by --allowed_origins, and any name of this machine that clients use, other than
localhost and addresses in numbers, by --allowed_hosts. Ctrl-C or SIGTERM ends the server once it
has answered what it has taken on, after 10 seconds at the latest.
"""

from absl import flags, logging

from keras_actionformer.extras import import_extra

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Folder of an exported model, whose highest version is served, or of one version.",
    required=True,
)
_NAME = flags.DEFINE_string("name", None, "The model's name in the URL, instead of the folder's.")
_HOST = flags.DEFINE_enum(
    "host",
    "127.0.0.1",
    ["127.0.0.1", "0.0.0.0", "::"],
    "Address to listen at: this machine alone, or all networks over IPv4 or IPv6.",
)
_PORT = flags.DEFINE_integer(
    "port", 8501, "Port to listen at.", lower_bound=1024, upper_bound=65535
)
_MAX_BODY_MB = flags.DEFINE_float("max_body_mb", 128, "Refuses larger requests.", lower_bound=0.001)
_MAX_STEPS = flags.DEFINE_integer(
    "max_steps",
    16384,
    "Refuses longer sequences; the model computes at most so many steps of several at a time.",
    lower_bound=1,
)
_MAX_INSTANCES = flags.DEFINE_integer(
    "max_instances", 64, "Refuses requests of more sequences.", lower_bound=1
)
_MAX_PENDING = flags.DEFINE_integer(
    "max_pending", 64, "Refuses requests while so many are not answered yet.", lower_bound=1
)
_MAX_PENDING_MB = flags.DEFINE_float(
    "max_pending_mb",
    512,
    "Refuses requests while those that are not answered yet have so many megabytes together.",
    lower_bound=0.001,
)
_MAX_BATCH_SIZE = flags.DEFINE_integer(
    "max_batch_size", 16, "Gives the model at most so many sequences at a time.", lower_bound=1
)
_BATCH_TIMEOUT_MS = flags.DEFINE_float(
    "batch_timeout_ms", 2, "How long a request that is alone waits for others.", lower_bound=0
)
_ALLOWED_HOSTS = flags.DEFINE_list(
    "allowed_hosts",
    [],
    "Names that clients call this machine by, beside localhost and addresses in numbers; or *.",
)
_ALLOWED_ORIGINS = flags.DEFINE_list(
    "allowed_origins",
    [],
    "Web pages that may send requests, such as https://example.org; or *.",
)


def main():
    for package in ("starlette", "uvicorn", "msgspec"):
        import_extra(package, package, "serve", "Serving")
    from keras_actionformer.deploy.server import ServingLimits, serve

    logging.set_verbosity(logging.WARNING)  # TensorFlow tells what it misses in an export
    limits = ServingLimits(
        max_body_mb=_MAX_BODY_MB.value,
        max_steps=_MAX_STEPS.value,
        max_instances=_MAX_INSTANCES.value,
        max_pending=_MAX_PENDING.value,
        max_pending_mb=_MAX_PENDING_MB.value,
        max_batch_size=_MAX_BATCH_SIZE.value,
        batch_timeout_ms=_BATCH_TIMEOUT_MS.value,
    )
    serve(
        _MODEL.value,
        _NAME.value,
        _HOST.value,
        _PORT.value,
        limits,
        _ALLOWED_HOSTS.value,
        _ALLOWED_ORIGINS.value,
    )
