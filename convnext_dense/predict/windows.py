"""Pictures read by windows: those in memory, and TIFF files that are larger than memory, through tifffile."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import InputError
from convnext_dense.weights.open import reason

TIFFS = ('.tif', '.tiff')
# Where a GeoTIFF says where it lies: scale, tie points, transformation, and the keys, numbers and texts of its coordinates.
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
CACHE = 256 * 2**20  # bytes of decoded parts that are kept


class Windowed(Protocol):
    """A picture (H, W) of which windows are read."""

    size: tuple[int, int]

    def read(self, top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
        """(height, width, 3) in BGR; the window lies within the picture."""


class InMemory:
    """An array (H, W, 3) in BGR as a windowed picture."""

    def __init__(self, bgr: NDArray[np.uint8]) -> None:
        self.bgr, self.size = bgr, (bgr.shape[0], bgr.shape[1])

    def read(self, top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
        return self.bgr[top : top + height, left : left + width]


def tiff_library() -> ModuleType:
    try:
        import tifffile
    except ImportError as error:
        raise InputError(
            f'tiles of a TIFF: expected tifffile, which is not installed ({error}); pip install tifffile'
        ) from error
    return tifffile


class Tiff:
    """A TIFF's first picture, of which only the strips or tiles that a window touches are read.

    One band is grey; of four and more the first three are taken as red, green and blue. Sixteen bits are brought to eight as
    OpenCV does. `geo` has the tags that say where it lies.
    """

    def __init__(self, path: str) -> None:
        tifffile = tiff_library()
        try:
            self.file: Any = tifffile.TiffFile(path)
            self.page: Any = self.file.pages[0]
            height, width = self.page.imagelength, self.page.imagewidth
        except Exception as error:  # of any broken file
            raise UnreadableError(f'cannot be read as a TIFF ({reason(error)})') from error
        self.size = height, width
        if self.page.dtype is None or self.page.dtype not in (np.uint8, np.uint16) or self.page.imagedepth != 1:
            raise UnreadableError(f'has values of type {self.page.dtype}; expected 8 or 16 bits')
        self.separate = self.page.planarconfig == 2 and self.page.samplesperpixel > 1
        whole = self.page.is_contiguous and not self.page.is_tiled and not self.separate
        self.plain = bool(whole) and self.page.compression == 1 and self.page.predictor == 1
        tags = [self.page.tags.get(code) for code in GEO_TAGS]
        self.geo = [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in tags if tag is not None]
        self.kept: OrderedDict[int, NDArray] = OrderedDict()
        self.kept_bytes = 0

    def read(self, top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
        bands = min(self.page.samplesperpixel, 3)
        out = self._rows(top, left, height, width, bands) if self.plain else self._parts(top, left, height, width, bands)
        if out.dtype == np.uint16:
            out = out >> 8
        rgb = out.astype(np.uint8) if bands == 3 else np.repeat(out[..., :1].astype(np.uint8), 3, axis=2)
        return np.ascontiguousarray(rgb[..., ::-1])

    def _rows(self, top: int, left: int, height: int, width: int, bands: int) -> NDArray:
        """Of a file that has the pixels as they are, row by row; which may all be one strip."""
        samples = self.page.samplesperpixel
        stored = self.page.dtype.newbyteorder(self.file.byteorder)
        out = np.empty((height, width, bands), self.page.dtype)
        for row in range(height):
            at = self.page.dataoffsets[0] + ((top + row) * self.size[1] + left) * samples * stored.itemsize
            self.file.filehandle.seek(at)
            data = self.file.filehandle.read(width * samples * stored.itemsize)
            if len(data) < width * samples * stored.itemsize:
                raise UnreadableError(f'cannot be read in row {top + row} (the file ends before it)')
            out[row] = np.frombuffer(data, stored).reshape(width, samples)[:, :bands]
        return out

    def _parts(self, top: int, left: int, height: int, width: int, bands: int) -> NDArray:
        """Of a file in strips or tiles, compressed or not."""
        out = np.zeros((height, width, bands), self.page.dtype)
        tall, wide = (
            (self.page.tilelength, self.page.tilewidth) if self.page.is_tiled else (self.page.rowsperstrip, self.size[1])
        )
        across, down = -(-self.size[1] // wide), -(-self.size[0] // tall)
        for row in range(top // tall, -(-(top + height) // tall)):
            for column in range(left // wide, -(-(left + width) // wide)):
                for band in range(bands if self.separate else 1):
                    part = self._part(row * across + column + band * across * down)
                    y, x = row * tall, column * wide
                    ys, xs = (
                        slice(max(y, top), min(y + part.shape[0], top + height)),
                        slice(max(x, left), min(x + part.shape[1], left + width)),
                    )
                    inside = part[ys.start - y : ys.stop - y, xs.start - x : xs.stop - x]
                    into = out[ys.start - top : ys.stop - top, xs.start - left : xs.stop - left]
                    if self.separate:
                        into[..., band] = inside[..., 0]
                    else:
                        into[...] = inside[..., :bands]
        return out

    def _part(self, index: int) -> NDArray:
        """A strip or tile (h, w, samples), decoded."""
        if index in self.kept:
            self.kept.move_to_end(index)
            return self.kept[index]
        try:
            offset, length = self.page.dataoffsets[index], self.page.databytecounts[index]
            self.file.filehandle.seek(offset)
            data = self.file.filehandle.read(length)
            decoded = self.page.decode(data, index, jpegtables=self.page.jpegtables)[0]
        except Exception as error:  # of any broken part, or a compression that needs another library
            raise UnreadableError(f'cannot be read in part {index} ({reason(error)})') from error
        part = np.zeros((1, 1, 1), self.page.dtype) if decoded is None else decoded[0]
        self.kept[index] = part
        self.kept_bytes += part.nbytes
        while self.kept_bytes > CACHE and len(self.kept) > 1:
            self.kept_bytes -= self.kept.popitem(last=False)[1].nbytes
        return part


def reduced(picture: Windowed, longest: int) -> NDArray[np.uint8]:
    """The whole picture with its longer side brought to `longest` pixels, a band at a time; as it is where it is smaller."""
    height, width = picture.size
    if max(height, width) <= longest:
        return picture.read(0, 0, height, width)
    scale = longest / max(height, width)
    h, w = max(round(height * scale), 1), max(round(width * scale), 1)
    rows = max(64 * 2**20 // (3 * width), 1)  # 64 MB at a time
    out = np.empty((h, w, 3), np.uint8)
    done = 0
    while done < h:
        stop = min(done + max(int(rows * scale), 1), h)
        top, bottom = round(done / scale), min(max(round(stop / scale), round(done / scale) + 1), height)
        band = picture.read(top, 0, bottom - top, width)
        out[done:stop] = cv2.resize(band, (w, stop - done), interpolation=cv2.INTER_AREA)
        done = stop
    return out


def is_tiff(path: str) -> bool:
    return Path(path).suffix.lower() in TIFFS
