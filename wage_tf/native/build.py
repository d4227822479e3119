"""Builds `wage_tf.native._runtime`, the C runtime's extension, by cffi; setup.py names it.

Its declarations are the runtime's own headers. By hand, in place: python setup.py build_ext --inplace
"""

import re
from pathlib import Path

from cffi import FFI

_HEADERS = ("wage_kernels.h", "wage_net.h", "wage_pool.h", "wage_isa.h")
_ROOT = Path(__file__).parents[2]
_SOURCE = Path(__file__).parent / "src"


def _declarations(header: str) -> str:
    """A header without its preprocessor lines, but for numbers with a name."""
    lines = re.sub(r"/\*.*?\*/", "", (_SOURCE / header).read_text(), flags=re.DOTALL).splitlines()
    return "\n".join(line for line in lines if not line.startswith("#") or re.fullmatch(r"#define \w+ \d+\s*", line))


ffibuilder = FFI()
ffibuilder.cdef("\n".join(map(_declarations, _HEADERS)))
ffibuilder.set_source(
    "wage_tf.native._runtime",
    "\n".join(f'#include "{header}"' for header in _HEADERS),
    sources=[str(path.relative_to(_ROOT)) for path in sorted(_SOURCE.glob("*.c"))],
    depends=[str(path.relative_to(_ROOT)) for path in sorted(_SOURCE.glob("*.[hi]*"))],
    include_dirs=[str(_SOURCE.relative_to(_ROOT))],
    extra_compile_args=["-O3", "-g0"],
    optional=True,
)
