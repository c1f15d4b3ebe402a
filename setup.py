"""Declares the optional C extension; everything else is in setup.cfg.

Without a compiler the installation goes on and the kernels run in PyTorch: `structkd doctor` says so.
"""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "structkd.kernels._cpu",
            sources=sorted(glob("structkd/kernels/csrc/*.c")),
            depends=sorted(glob("structkd/kernels/csrc/*.h")),
            extra_compile_args=["-O3", "-fvisibility=hidden", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
