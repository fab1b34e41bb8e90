"""Install imettk: `pip install -e .`, or `pip install -e .[test]` for the test suite."""

import re
from pathlib import Path

from setuptools import find_packages, setup

# `kaggle` itself brings the others, which imettk imports: the typed requests, the HTTP session and its errors.
KAGGLE = ["kaggle>=2.2", "kagglesdk>=0.1.38", "requests>=2.28", "urllib3>=1.26"]
DICOM = ["pydicom>=3", "pylibjpeg>=2", "pylibjpeg-openjpeg>=2.3", "python-gdcm>=3.0.24"]
LORA = ["peft>=0.12"]  # brings transformers and accelerate, 150 MB
TIFF = ["imagecodecs", "tifffile>=2023.7"]
# Read, not imported: the environment that builds the package holds none of its libraries.
INIT = Path(__file__).resolve().parent / "imettk" / "__init__.py"
(VERSION,) = re.findall(r'^__version__ = "([^"]+)"$', INIT.read_text(encoding="utf-8"), re.MULTILINE)

setup(
    name="imettk",
    version=VERSION,
    description="Win image competitions without a GPU: training over Kaggle sessions that continues exactly",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["imettk", "imettk.*"]),
    package_data={"imettk": ["py.typed", "tracking/report.html"]},
    entry_points={"console_scripts": ["imettk = imettk.__main__:main"]},
    install_requires=[
        "albumentations==2.0.8",  # the last MIT release
        "delegator.py>=0.1.1",
        "huggingface_hub>=0.23",
        "jinja2>=3.1",
        "matplotlib>=3.7",
        "munch",  # pretrainedmodels needs it and six, and declares only munch
        "numpy>=1.26",
        "opencv-python-headless>=4.9",
        "packaging>=22",
        "pandas>=2.2",
        "pillow>=10",
        "pretrainedmodels>=0.7.4",
        "pydantic>=2.7",
        "safetensors>=0.4.3",
        "python-telegram-bot>=21",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "six",
        "tensorboard>=2.15",
        "timm>=1.0.15",
        "torch>=2.6",
        "tqdm>=4.66",
        "tyro>=0.9",
        "warmup-scheduler>=0.3",
    ],
    extras_require={
        "bench": ["ckpt-chaos>=0.1.8"],
        "dicom": DICOM,
        "hdf5": ["h5py>=3.8"],
        "kaggle": KAGGLE,
        "log": ["mlflow>=3.1"],
        "lora": LORA,
        "parquet": ["pyarrow>=14"],
        "tiff": TIFF,
        "test": [
            "h5py>=3.8",
            "ipykernel>=6.29",
            "iterative-stratification",
            "mlflow>=3.1",
            "mypy",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pandas-stubs",
            "pyarrow>=14",
            "pytest",
            "pytest-xdist>=3.7",
            "pytorch-metric-learning>=2.9",
            "ruff",
            "selenium>=4.20",
            "selenium-axe-python>=2.2",  # for its copy of axe-core
            *DICOM,
            *KAGGLE,
            *LORA,
            *TIFF,
            "types-tqdm",
        ],
    },
)
