"""Pictures read by windows: those in memory, and TIFF files that are larger than memory, through tifffile."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.channels import TIFFS, tiff_library
from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import reason

# Where a GeoTIFF says where it lies: scale, tie points, transformation, and the keys, numbers and texts of its coordinates.
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
COLOURS = (1, 2)  # photometric interpretations: grey from black up, and RGB
AREA = 4  # channels that OpenCV reduces by area
BAND = 256  # rows, at least, that are kept together
CACHE = 256 * 2**20  # bytes of decoded rows that are kept


class Windowed(Protocol):
    """A picture (H, W) of which windows are read."""

    size: tuple[int, int]

    def read(self, top: int, left: int, height: int, width: int) -> NDArray:
        """(height, width, 3) of bytes in BGR, or (height, width, N) of any channels; the window lies within the picture."""


class InMemory:
    """An array (H, W, N) as a windowed picture."""

    def __init__(self, image: NDArray) -> None:
        self.image, self.size = image, (image.shape[0], image.shape[1])

    def read(self, top: int, left: int, height: int, width: int) -> NDArray:
        return self.image[top : top + height, left : left + width]


class Band(NamedTuple):
    """Rows of a picture (h, W, samples), and which of the file's parts (row, column) are there."""

    pixels: NDArray
    there: set[tuple[int, int]]


class Tiff:
    """A TIFF's first picture, of which only the strips or tiles that a window touches are read.

    One band is grey; of four the first three are red, green and blue. Sixteen bits are brought to eight as
    OpenCV does. `geo` has the tags that say where it lies.
    """

    def __init__(self, path: str) -> None:
        tifffile = tiff_library('tiles of a TIFF')
        try:
            self.file: Any = tifffile.TiffFile(path)
            self.page: Any = self.file.pages[0]
            height, width = self.page.imagelength, self.page.imagewidth
        except Exception as error:  # of any broken file
            raise UnreadableError(f'cannot be read as a TIFF ({reason(error)})') from error
        self.size = height, width
        if self.page.dtype is None or self.page.dtype not in (np.uint8, np.uint16) or self.page.imagedepth != 1:
            raise UnreadableError(f'has values of type {self.page.dtype}; expected 8 or 16 bits')
        turned = self.page.tags.get(274)
        if self.page.photometric not in COLOURS or (turned is not None and turned.value != 1):
            kind = getattr(self.page.photometric, 'name', self.page.photometric)
            raise UnreadableError(f'is a TIFF of {kind}, or turned; expected grey or RGB as it lies: save it so')
        if self.page.samplesperpixel not in (1, 3, 4):
            raise UnreadableError(f'has {self.page.samplesperpixel} bands; expected 1, 3 or 4')
        self.separate = self.page.planarconfig == 2 and self.page.samplesperpixel > 1
        whole = self.page.is_contiguous and not self.page.is_tiled and not self.separate
        self.plain = bool(whole) and self.page.compression == 1 and self.page.predictor == 1
        tags = [self.page.tags.get(code) for code in GEO_TAGS]
        self.geo = [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in tags if tag is not None]
        self.part = self.page.rowsperstrip, width  # height and width
        if self.page.is_tiled:
            self.part = self.page.tilelength, self.page.tilewidth
        self.band = -(-BAND // self.part[0]) * self.part[0]
        self.kept: OrderedDict[int, Band] = OrderedDict()

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
        first, last = top // self.band, (top + height - 1) // self.band
        most = max(CACHE // (self.band * self.size[1] * bands * self.page.dtype.itemsize), last - first + 1)
        out = np.empty((height, width, bands), self.page.dtype)
        for index in range(first, last + 1):
            rows = self._band(index, most, bands)
            y = index * self.band
            begin, end = max(y, top), min(y + self.band, top + height)
            self._fill(rows, y, begin, end, left, left + width)
            out[begin - top : end - top] = rows.pixels[begin - y : end - y, left : left + width]
        return out

    def _band(self, index: int, most: int, bands: int) -> Band:
        """Some rows of the picture, of which what was asked for is there; of more than `most`, the longest unused are let go.

        Their memory is used again: parts of their own, in between what the model takes and gives back, would scatter it.
        """
        if index in self.kept:
            self.kept.move_to_end(index)
        else:
            pixels = self.kept.popitem(last=False)[1].pixels if len(self.kept) >= most else None
            if pixels is None:
                pixels = np.empty((self.band, self.size[1], bands), self.page.dtype)
            self.kept[index] = Band(pixels, set())
        return self.kept[index]

    def _fill(self, rows: Band, y: int, top: int, bottom: int, left: int, right: int) -> None:
        """Decode what a window needs of a band that begins at row `y`."""
        across, down = -(-self.size[1] // self.part[1]), -(-self.size[0] // self.part[0])
        samples = rows.pixels.shape[2]
        for row in range(top // self.part[0], -(-bottom // self.part[0])):
            for column in range(left // self.part[1], -(-right // self.part[1])):
                if (row, column) in rows.there:
                    continue
                at = row * self.part[0] - y, column * self.part[1]
                for plane in range(samples if self.separate else 1):
                    part = self._decoded(row * across + column + plane * across * down)
                    into = rows.pixels[at[0] : at[0] + part.shape[0], at[1] : at[1] + part.shape[1]]
                    part = part[: into.shape[0], : into.shape[1]]
                    if self.separate:
                        into[..., plane] = part[..., 0]
                    else:
                        into[...] = part[..., :samples]
                rows.there.add((row, column))

    def _decoded(self, index: int) -> NDArray:
        """A strip or tile (h, w, samples)."""
        try:
            offset, length = self.page.dataoffsets[index], self.page.databytecounts[index]
            self.file.filehandle.seek(offset)
            data = self.file.filehandle.read(length)
            decoded = self.page.decode(data, index, jpegtables=self.page.jpegtables)[0]
        except Exception as error:  # of any broken part, or a compression that needs another library
            raise UnreadableError(f'cannot be read in part {index} ({reason(error)})') from error
        if decoded is None:  # of a sparse file
            return np.zeros((*self.part, self.page.samplesperpixel), self.page.dtype)
        return decoded[0]


def reduced(picture: Windowed, longest: int) -> NDArray:
    """The whole picture with its longer side brought to `longest` pixels, a band at a time; as it is where it is smaller."""
    height, width = picture.size
    if max(height, width) <= longest:
        return picture.read(0, 0, height, width)
    scale = longest / max(height, width)
    h, w = max(round(height * scale), 1), max(round(width * scale), 1)
    pixel = picture.read(0, 0, 1, 1)
    rows = max(64 * 2**20 // (pixel.nbytes * width), 1)  # 64 MB at a time
    out = np.empty((h, w, pixel.shape[2]), pixel.dtype)
    done = 0
    while done < h:
        stop = min(done + max(int(rows * scale), 1), h)
        top, bottom = round(done / scale), min(max(round(stop / scale), round(done / scale) + 1), height)
        band = picture.read(top, 0, bottom - top, width)
        for channel in range(0, out.shape[2], AREA):
            part = cv2.resize(band[..., channel : channel + AREA], (w, stop - done), interpolation=cv2.INTER_AREA)
            out[done:stop, :, channel : channel + AREA] = part.reshape(stop - done, w, -1)
        done = stop
    return out


def is_tiff(path: str) -> bool:
    return Path(path).suffix.lower() in TIFFS
