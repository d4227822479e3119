"""Packaging of wage_tf; the networks in models/ are installed as wage_tf.models."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_ROOT = Path(__file__).parent
_LITERT = ["ai-edge-litert>=2.1"]
_ONNX = ["onnx>=1.17", "onnxruntime>=1.20"]
_PJRT = ["jax>=0.10"]
_DOCS = ["mkdocs>=1.6", "mkdocs-material>=9.6", "mkdocstrings[python]>=1.0", "latex2mathml>=3.77"]

setup(
    name="wage-tf",
    version=re.search(r'__version__ = "(.+)"', (_ROOT / "wage_tf" / "__init__.py").read_text()).group(1),
    description="Training and inference with low-bit integers (WAGE) on TensorFlow 2 and Keras 3",
    long_description=(_ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=[*find_packages(include=["wage_tf", "wage_tf.*"]), "wage_tf.models"],
    package_dir={"wage_tf.models": "models"},
    entry_points={
        "console_scripts": [
            "wage-train = wage_tf.cli.train:main",
            "wage-tune = wage_tf.cli.tune:main",
            "wage-export = wage_tf.cli.export:main",
            "wage-verify = wage_tf.cli.verify:main",
        ]
    },
    package_data={
        "wage_tf": ["py.typed"],
        "wage_tf.native": ["src/*"],
        "wage_tf.export": ["src/*"],
        "wage_tf.export.web": ["*.html", "*.css", "*.js", "*.c", "*.wasm"],
        "wage_tf.zoo": ["*.json", "*.wage.xz"],
    },
    cffi_modules=["wage_tf/native/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "cffi>=1.16",
        "tensorflow>=2.21",
        "keras>=3.15",
        "numpy>=2.0",
        "tensorboard>=2.20",
        "tensorflow-datasets>=4.9.10",
        "importlib_resources>=6.0",
        "scikit-learn>=1.5",
        "pillow>=10.0",
        "keras-tuner>=1.4.8",
        "matplotlib>=3.9",
        "grpcio>=1.60",
        "pydantic>=2.9",
    ],
    extras_require={
        "litert": _LITERT,
        "onnx": _ONNX,
        "pjrt": _PJRT,
        "docs": _DOCS,
        "all": [*_LITERT, *_ONNX, *_PJRT],
        "test": [
            *_LITERT,
            *_ONNX,
            *_PJRT,
            *_DOCS,
            "hypothesis>=6.100",
            "ipykernel>=6.29",
            "mypy>=1.15",
            "nbclient>=0.10",
            "playwright>=1.50",
            "pytest>=8.0",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "tflite-micro; sys_platform == 'linux' and platform_machine == 'x86_64'",
        ],
    },
)
