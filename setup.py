"""Packaging: console scripts, the shipped units under <prefix>/share/vcs/units, and what the code really needs."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "vcsctl/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)


def files(folder: str, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(HERE)) for path in (HERE / folder).glob(pattern))


setup(
    name="vcsctl",
    version=VERSION,
    description="A service manager for clusters: one YAML unit per service, run groups that never overlap",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["vcsctl", "vcsctl.*"]),
    package_data={"vcsctl": ["py.typed"]},
    data_files=[
        ("lib/systemd/system", ["etc/systemd/vcsd.service"]),
        ("share/vcs/units", files("units", "*.yaml")),
        ("share/vcs/services.d", files("etc/vcs/services.d", "*.yaml")),
        (
            "share/vcs/services.d/backup-manager.yaml.d",
            files("etc/vcs/services.d/backup-manager.yaml.d", "*.yaml"),
        ),
    ],
    install_requires=[
        "click>=8.1.4",  # first with the typing of lazily loaded groups that the commands rely on
        "filelock>=4.2,<5",  # lock_descriptor(); 4.x moves fast and is pinned to its major version
        "pydantic>=2.7,<3",  # validation of plain dataclasses with extra keys forbidden
        "PyYAML>=6.0.1",  # libyaml events for Python 3.11 and later
        "schedule>=1.2",  # time zones fixed; runs vcsd's chores
        "tzdata>=2024.1",  # zones on machines without the system's database
    ],
    extras_require={
        "bench": ["croniter>=2"],  # a peer of `make bench`
        "test": ["pytest>=8", "hypothesis>=6.100", "aiosmtpd>=1.4.6", "setuptools>=70.1", "greenlet>=3", "pyte>=0.8.2"],
        "check": ["mypy>=1.10", "ruff>=0.6", "types-PyYAML>=6.0.12"],
    },
    entry_points={
        "console_scripts": [
            "vcsctl = vcsctl.cli.main:main",
            "vcsd = vcsctl.vcsd.main:main",
            "vcs-utility = vcsctl.utilities.main:main",
        ]
    },
)
