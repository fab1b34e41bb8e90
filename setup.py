"""Install imettk: `pip install -e .`, or `pip install -e .[test]` for the test suite."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
# The published repository's page. Until there is one, the package names no urls, and its description links to no file.
REPOSITORY = ""
PAGES = f"{REPOSITORY}/blob/main"

# `kaggle` itself brings the others, which imettk imports: the typed requests, the HTTP session and its errors.
KAGGLE = ["kaggle>=2.2", "kagglesdk>=0.1.38", "requests>=2.28", "urllib3>=1.26"]
USERS_EXTRAS = {
    "dicom": ["pydicom>=3", "pylibjpeg>=2", "pylibjpeg-openjpeg>=2.3", "python-gdcm>=3.0.24"],
    "hdf5": ["h5py>=3.8"],
    "kaggle": KAGGLE,
    "log": ["mlflow>=3.1"],
    "lora": ["peft>=0.12"],  # brings transformers and accelerate, 150 MB
    "notebook": ["ipykernel>=6.29", "jupyter_client>=8", "nbclient>=0.10", "nbformat>=5.10"],
    "parquet": ["pyarrow>=14"],
    "tiff": ["imagecodecs", "tifffile>=2023.7"],
}
ALL = [line for extra in USERS_EXTRAS.values() for line in extra]


def read_version() -> str:
    """Read the version without an import: the environment that builds the package has none of its libraries."""
    text = (HERE / "imettk" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    return version


def describe() -> str:
    """Return the README with links that also work outside the repository."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    link = rf"[\1]({PAGES}/\2)" if REPOSITORY else r"\1"
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)", link, text)


class SourceDistribution(sdist):
    """The sdist with the changelog, and without the tests that setuptools adds by itself."""

    def make_distribution(self) -> None:
        """Choose the files, and pack them."""
        self.filelist.exclude_pattern(None, prefix="tests")
        self.filelist.append("CHANGELOG.md")
        super().make_distribution()


setup(
    name="imettk",
    cmdclass={"sdist": SourceDistribution},
    version=read_version(),
    description="Win image competitions without a GPU: training over Kaggle sessions that continues exactly",
    long_description=describe(),
    long_description_content_type="text/markdown",
    project_urls={
        "Source": REPOSITORY,
        "Documentation": f"{PAGES}/docs/README.md",
        "Changelog": f"{PAGES}/CHANGELOG.md",
    }
    if REPOSITORY
    else {},
    keywords="kaggle image-classification computer-vision pytorch competition resume",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Framework :: Jupyter",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    license_expression="MIT",
    license_files=["LICENSE"],
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
        "shtab>=1.10",
        "six",
        "tensorboard>=2.15",
        "timm>=1.0.15",
        "torch>=2.6",
        "tqdm>=4.66",
        "tyro>=0.9",
        "warmup-scheduler>=0.3",
    ],
    extras_require={
        **USERS_EXTRAS,
        "all": ALL,
        "bench": ["ckpt-chaos>=0.1.8"],
        "test": [
            *ALL,
            "build>=1.2",
            "iterative-stratification",
            "mypy",
            "pandas-stubs",
            "pytest",
            "pytest-xdist>=3.7",
            "pytorch-metric-learning>=2.9",
            "ruff",
            "selenium>=4.20",
            "selenium-axe-python>=2.2",  # for its copy of axe-core
            "setuptools>=77",  # builds the package, without a network
            "twine>=6",
            "types-tqdm",
        ],
    },
)
