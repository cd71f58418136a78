"""Packaging: console scripts, the shipped units under <prefix>/share/vcs/units, and what the code really needs."""

import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "vcsctl/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)


def files(folder: str, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(HERE)) for path in (HERE / folder).glob(pattern))


class Build(build_py):
    """Writes the man pages and the scripts of the shells from the commands themselves, so that they say the same."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # `make man` writes them into a working copy
        sys.path.insert(0, str(HERE))
        from vcsctl.cli.manual import write

        write(HERE / "build/man")


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
    cmdclass={"build_py": Build},
    data_files=[
        ("share/man/man1", ["build/man/vcsctl.1"]),
        ("share/man/man8", ["build/man/vcsd.8"]),
        ("share/bash-completion/completions", ["build/man/vcsctl"]),
        ("share/zsh/site-functions", ["build/man/_vcsctl"]),
        ("share/fish/vendor_completions.d", ["build/man/vcsctl.fish"]),
        ("lib/systemd/system", ["etc/systemd/vcsd.service"]),
        ("share/vcs", ["unit.schema.json", "drop-in.schema.json"]),  # beside units/, as in a working copy
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
        "test": [
            "pytest>=8",
            "hypothesis>=6.100",
            "aiosmtpd>=1.4.6",
            "setuptools>=70.1",
            "greenlet>=3",
            "jsonschema>=4.18",
            "pre-commit>=3.6",
            "pyte>=0.8.2",
        ],
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
