"""What all compiled loops share: numba's decorators, elementary functions, products.

Loops are over buffers whose width is a multiple of ``LANES``, which fills the vector registers of
current processors; what is added to reach it is zero.
"""

import atexit
import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import torch
from torch import Tensor

from gems.kernels.vectors import affine_tile

LANES = 32
# Rows of a product whose sums are made together.
ROWS = 5
_F = np.float32
_PACKAGE = Path(__file__).parents[1]


def _cache_folder() -> Path:
    """A folder for this very code: numba's own check looks at a function's file alone."""
    texts = (path.read_bytes() for path in sorted(_PACKAGE.rglob("*.py")))
    compiled = [text for text in texts if b"gems.kernels.compiled" in text or b"numba" in text]
    digest = hashlib.sha256(b"".join(compiled)).hexdigest()[:16]
    return _cache_parent() / f"numba-{digest}"


def _cache_parent() -> Path:
    """In the package, at home, or where neither can be written a folder for this process only."""
    if os.access(_PACKAGE, os.W_OK):
        return _PACKAGE / "__pycache__"
    with contextlib.suppress(RuntimeError):  # no home directory
        if os.access(Path.home(), os.W_OK):
            return Path.home() / ".cache" / "gems"
    folder = tempfile.mkdtemp(prefix="gems-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


_settings: Any = numba.config
if not _settings.CACHE_DIR:
    _settings.CACHE_DIR = str(_cache_folder())
_features = llvmlite.binding.get_host_cpu_features()
# With ``ROWS``, the sums of a product that fit into the registers.
COLUMNS = LANES // 2
# LLVM keeps to 256 bits where there are 512, for fear of a lower clock; matrix products do not.
if _features.get("avx512f") and not (_settings.CPU_NAME or _settings.CPU_FEATURES):
    _settings.CPU_FEATURES = f"{_features.flatten()},-prefer-256-bit"
    COLUMNS = LANES

# Exact: no reassociation, so that a batch of n users gives what n batches of one give.
jit = numba.njit(cache=True, nogil=True, error_model="numpy")
# Fused multiply-adds, for the networks, whose reference is a matrix product in any order.
jit_fused = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"}
)
# Sums in any order too, so that vector instructions can make them. Not without a place for NaN:
# training looks for it in its losses.
jit_reordered = numba.njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "nsz", "arcp", "reassoc"},
)

# Rational approximation of tanh on (-LIMIT, LIMIT) to 4 units in the last place, that of Eigen and
# XLA; unlike the library's tanh it compiles to vector instructions.
_LIMIT = _F(7.90531110763549805)
_ODD = tuple(
    _F(c)
    for c in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
_EVEN = tuple(
    _F(c)
    for c in (
        4.89352518554385e-03,
        2.26843463243900e-03,
        1.18534705686654e-04,
        1.19825839466702e-06,
    )
)
_A1, _A3, _A5, _A7, _A9, _A11, _A13 = _ODD
_B0, _B2, _B4, _B6 = _EVEN
_HALF = _F(0.5)


@jit_fused
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of a float32."""
    x = min(max(x, -_LIMIT), _LIMIT)
    y = x * x
    p = _A1 + y * (_A3 + y * (_A5 + y * (_A7 + y * (_A9 + y * (_A11 + y * _A13)))))
    q = _B0 + y * (_B2 + y * (_B4 + y * _B6))
    return x * p / q


@jit_fused
def sigmoid(x: Any) -> Any:
    """Logistic function of a float32."""
    return _HALF * tanh(_HALF * x) + _HALF


# Polynomials of exp on half an octave around 0 and of log on one around 1, and ln 2 in two parts,
# those of Cephes; exponents are bits 23 to 30 of a float32, 127 for 1.
_LOG2_E, _LN2_HIGH, _LN2_LOW = _F(1.44269504088896341), _F(0.693359375), _F(-2.12194440e-4)
_C2, _C3, _C4, _C5, _C6, _C7 = (
    _F(c)
    for c in (
        5.0000001201e-1,
        1.6666665459e-1,
        4.1665795894e-2,
        8.3334519073e-3,
        1.3981999507e-3,
        1.9875691500e-4,
    )
)
_L3, _L4, _L5, _L6, _L7, _L8, _L9, _L10, _L11 = (
    _F(c)
    for c in (
        3.3333331174e-1,
        -2.4999993993e-1,
        2.0000714765e-1,
        -1.6668057665e-1,
        1.4249322787e-1,
        -1.2420140846e-1,
        1.1676998740e-1,
        -1.1514610310e-1,
        7.0376836292e-2,
    )
)
# Their octaves are those of 0 and of infinity.
_SMALLEST, _GREATEST, _SQRT2 = _F(-88.0), _F(89.0), _F(1.41421356237309505)
_ONE = _F(1)


@jit_fused
def exp(x: Any) -> Any:
    """Exponential of a float32 to 2 units in the last place; 0 below -87.6, infinite above 88.3."""
    x = min(max(x, _SMALLEST), _GREATEST)
    octave = np.floor(x * _LOG2_E + _HALF)
    r = (x - octave * _LN2_HIGH) - octave * _LN2_LOW
    series = _C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7))))
    power = np.int32((np.int32(octave) + 127) << 23).view(np.float32)
    return (r * r * series + r + _ONE) * power


@jit_fused
def log(x: Any) -> Any:
    """Logarithm of a positive normal float32 to 2 units in the last place."""
    bits = np.float32(x).view(np.int32)
    octave = np.float32(np.int32((bits >> 23) - 127))
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    octave, m = (octave + _ONE, _HALF * m) if m > _SQRT2 else (octave, m)
    r = m - _ONE
    series = _L3 + r * (
        _L4 + r * (_L5 + r * (_L6 + r * (_L7 + r * (_L8 + r * (_L9 + r * (_L10 + r * _L11))))))
    )
    square = r * r
    low = octave * _LN2_LOW - _HALF * square + square * r * series
    # The difference is 0, or not a number where x is none.
    return octave * _LN2_HIGH + (r + low) + (x - x)


@jit_fused
def add_product(out: Any, vector: Any, matrix: Any) -> None:
    """``out`` (m,) += ``vector`` (n,) x ``matrix`` (n, m); n is a multiple of 4."""
    for j in range(0, matrix.shape[0], 4):
        a, b, c, d = vector[j], vector[j + 1], vector[j + 2], vector[j + 3]
        p, q, r, s = matrix[j], matrix[j + 1], matrix[j + 2], matrix[j + 3]
        for k in range(out.shape[0]):
            out[k] += (a * p[k] + b * q[k]) + (c * r[k] + d * s[k])


@jit_fused
def affine(out: Any, start: Any, vectors: Any, matrix: Any) -> None:
    """``out`` (m, n) = ``start`` + ``vectors`` (m, k or wider) x ``matrix`` (k, n).

    ``start`` is (n,), or (m, n) and may be ``out``. All are C-contiguous, and n is a multiple of
    ``LANES``.
    """
    whole = out.shape[0] - out.shape[0] % ROWS
    for column in range(0, out.shape[1], COLUMNS):
        for row in range(0, whole, ROWS):
            affine_tile(out, start, vectors, matrix, row, column, ROWS, COLUMNS)
        for row in range(whole, out.shape[0]):
            affine_tile(out, start, vectors, matrix, row, column, 1, COLUMNS)


def padded(values: Tensor, *, rows: int = 4, columns: int = LANES) -> Tensor:
    """A contiguous copy of a matrix or vector, zeros added up to multiples of its dimensions.

    Args:
        values: (n, m) or (m,).
        rows: what the number of rows is a multiple of afterwards.
        columns: likewise for the last dimension.
    """
    pads = [0, -values.shape[-1] % columns]
    for n in values.shape[-2::-1]:
        pads += [0, -n % rows]
    # One call is faster than zeros and a copy; without padding it keeps the order of dimensions.
    return torch.constant_pad_nd(values.detach(), pads).contiguous()
