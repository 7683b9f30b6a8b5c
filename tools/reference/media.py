"""Writes tests/cases/media: small picture files with the pixels Pillow reads from them, and what Pillow, PyTorch and
torchvision make of generated pictures of many sizes.

    python3 media.py tests/cases/media

Needs Pillow, NumPy, PyTorch and torchvision. The generated pictures come from a formula (`pattern`) that the unit tests
repeat, so only results are stored: a CRC-32 where equality is exact, samples where a tolerance applies.
"""

import io
import json
import pathlib
import struct
import sys
import zlib

import numpy
import PIL
import torch
import torchvision
from PIL import Image, ImageDraw, ImageOps
from torchvision.transforms.v2 import functional as transforms

FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]  # Pillow's own numbers


def pattern(height, width):
    """Smooth ramps with hard edges and noise, in unsigned 32-bit arithmetic."""
    y = numpy.arange(height, dtype=numpy.uint32)[:, None, None]
    x = numpy.arange(width, dtype=numpy.uint32)[None, :, None]
    c = numpy.arange(3, dtype=numpy.uint32)[None, None, :]
    noise = (y * numpy.uint32(2654435761) ^ x * numpy.uint32(2246822519) ^ c * numpy.uint32(3266489917)) >> 24
    ramp = (x * 3 + y * 5 + c * 85) & 255
    edge = ((x >> 4) + (y >> 3) + c) & 1
    return numpy.where(noise < 64, noise * 4, numpy.where(edge == 1, ramp, 255 - ramp)).astype(numpy.uint8)


def photo(width=43, height=29):
    """A picture with soft and hard parts; odd sides, so that chroma subsampling meets half blocks."""
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            image.putpixel((x, y), (x * 255 // width, y * 255 // height, (x * y) % 256))
    draw = ImageDraw.Draw(image)
    draw.ellipse((5, 4, 22, 20), fill=(250, 220, 20))
    draw.rectangle((26, 10, 39, 25), fill=(10, 30, 200), outline=(255, 255, 255))
    return image


def png(width, height, bits, colour_type, rows, extra=()):
    """A PNG of raw sample rows, for the kinds Pillow does not write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    for kind, data in extra:
        out += chunk(kind, data)
    return out + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b"")


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture_files():
    base = photo()
    width, height = base.size
    pixels = numpy.asarray(base)
    files = {}
    for quality, subsampling, progressive in [(90, 0, False), (75, 1, False), (80, 2, False), (60, 2, True)]:
        name = f"rgb_{('444', '422', '420')[subsampling]}{'_progressive' if progressive else ''}.jpg"
        files[name] = saved(base, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    files["rgb_kept.jpg"] = saved(base, "JPEG", quality=90, keep_rgb=True)
    files["grey.jpg"] = saved(base.convert("L"), "JPEG", quality=85)
    cmyk = saved(base.convert("CMYK"), "JPEG", quality=85)
    files["cmyk.jpg"] = cmyk
    at = cmyk.index(b"\xff\xee")
    files["ycck.jpg"] = cmyk[:at + 15] + b"\x02" + cmyk[at + 16:]  # the same numbers, declared YCCK
    files["cmyk_no_adobe.jpg"] = cmyk[:at] + cmyk[at + 16:]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"exif_{orientation}.jpg"] = saved(base, "JPEG", quality=40, exif=exif)
    exif = Image.Exif()
    exif[0x0112] = 6
    files["exif_6.png"] = saved(base, "PNG", exif=exif)
    files["exif_6.webp"] = saved(base, "WEBP", lossless=True, exif=exif)
    files["orientation_8.tif"] = saved(base, "TIFF", tiffinfo={0x0112: 8})

    alpha = Image.fromarray(((numpy.add.outer(numpy.arange(height) * 9, numpy.arange(width) * 7)) % 256).astype("uint8"))
    alpha.paste(0, (0, 0, 12, 12))
    rgba = base.copy()
    rgba.putalpha(alpha)
    files["rgb.png"] = saved(base, "PNG")
    files["rgba.png"] = saved(rgba, "PNG")
    files["grey_alpha.png"] = saved(rgba.convert("LA"), "PNG")
    files["grey.png"] = saved(base.convert("L"), "PNG")
    files["bit1.png"] = saved(base.convert("1"), "PNG")
    palette = base.quantize(60)
    files["palette.png"] = saved(palette, "PNG")
    files["palette_transparent.png"] = saved(palette, "PNG", transparency=bytes((i * 40) % 256 for i in range(60)))
    files["palette_4bit.png"] = saved(base.quantize(13), "PNG", bits=4, transparency=3)
    files["grey_transparent.png"] = saved(base.convert("L"), "PNG", transparency=128)
    files["rgb_transparent.png"] = saved(base, "PNG", transparency=(10, 30, 200))
    wide = pixels.astype(">u2") * 251 + 77
    files["rgb16.png"] = png(width, height, 16, 2, [row.tobytes() for row in wide])
    deep = (pixels[:, :, 0].astype(">u2") * 3 // 2)
    files["grey16.png"] = png(width, height, 16, 0, [row.tobytes() for row in deep])
    files["grey_alpha16.png"] = png(width, height, 16, 4, [row.tobytes() for row in wide[:, :, :2]])
    files["rgba16.png"] = png(width, height, 16, 6,
                              [row.tobytes() for row in numpy.concatenate([wide, wide[:, :, :1]], 2)])
    files["grey2.png"] = png(16, 3, 2, 0, [b"\x1b\xe4\x00\xff", b"\x55\xaa\x0f\xf0", b"\x12\x34\x56\x78"])
    files["gamma.png"] = png(width, height, 8, 2, [row.tobytes() for row in pixels], [(b"gAMA", struct.pack(">I", 100000))])

    flipped = ImageOps.mirror(base)
    files["animated.png"] = saved(base, "PNG", save_all=True, append_images=[flipped], duration=50)
    files["animated.gif"] = saved(palette, "GIF", save_all=True, append_images=[flipped.quantize(60)], duration=50)
    files["transparent.gif"] = saved(palette, "GIF", transparency=7)
    files["grey.gif"] = saved(base.convert("L"), "GIF")
    files["lossless.webp"] = saved(base, "WEBP", lossless=True)
    files["lossy.webp"] = saved(base, "WEBP", quality=70)
    files["alpha.webp"] = saved(rgba, "WEBP", lossless=True, exact=True)
    files["animated.webp"] = saved(base, "WEBP", save_all=True, append_images=[flipped], duration=50, lossless=True)
    files["rgb.avif"] = saved(base, "AVIF", quality=90, subsampling="4:4:4")
    files["rgb_420.avif"] = saved(base, "AVIF", quality=70, subsampling="4:2:0")
    files["rgb_422.avif"] = saved(base, "AVIF", quality=70, subsampling="4:2:2")
    files["alpha.avif"] = saved(rgba, "AVIF", quality=80)
    for orientation in range(2, 9):  # which AVIF keeps as a rotation and a mirror
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"turned_{orientation}.avif"] = saved(base, "AVIF", quality=70, exif=exif)

    files["rgb_lzw.tif"] = saved(base, "TIFF", compression="tiff_lzw")
    files["grey16.tif"] = saved(Image.fromarray(deep.astype("<u2")), "TIFF")
    files["float.tif"] = saved(Image.fromarray(pixels[:, :, 1].astype("float32") * 1.5 - 40.25), "TIFF")
    files["cmyk.tif"] = saved(base.convert("CMYK"), "TIFF")
    files["palette.tif"] = saved(palette, "TIFF")
    files["bit1.tif"] = saved(base.convert("1"), "TIFF", compression="group4")
    files["rgba.tif"] = saved(rgba, "TIFF", compression="tiff_adobe_deflate")
    files["rgb.ppm"] = saved(base, "PPM")
    files["grey.pgm"] = saved(base.convert("L"), "PPM")
    files["bit1.pbm"] = saved(base.convert("1"), "PPM")
    files["rgb.bmp"] = saved(base, "BMP")
    files["rgba.bmp"] = saved(rgba, "BMP")
    files["palette.bmp"] = saved(palette, "BMP")
    files["bit1.bmp"] = saved(base.convert("1"), "BMP")
    return files


def write_decode(folder):
    index = []
    for name, data in picture_files().items():
        (folder / name).write_bytes(data)
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        entry = {"file": name, "height": image.height, "width": image.width}
        entry["crc32"] = zlib.crc32(image.tobytes())
        index.append(entry)
    return index


PILLOW_SIZES = [  # from height, width to height, width
    (29, 43, 29, 43), (29, 43, 14, 43), (29, 43, 29, 21), (29, 43, 58, 86), (29, 43, 61, 100), (1, 1, 5, 7),
    (1, 50, 20, 3), (50, 1, 3, 20), (64, 64, 1, 1), (7, 3000, 7, 7), (3000, 5, 7, 900), (5, 5, 900, 11),
    (240, 320, 224, 224), (336, 500, 336, 336), (97, 131, 384, 384), (480, 640, 30, 40), (101, 103, 100, 104),
    (2, 2, 3, 3), (33, 65, 31, 67), (300, 200, 448, 448),
]
TORCH_SIZES = [
    (29, 43, 29, 43), (29, 43, 14, 20), (29, 43, 58, 86), (29, 43, 61, 100), (1, 1, 5, 7), (1, 50, 20, 3), (50, 1, 3, 20),
    (64, 64, 1, 1), (7, 3000, 7, 7), (3000, 5, 7, 90), (5, 5, 300, 11), (240, 320, 224, 224), (97, 131, 384, 384),
    (480, 640, 30, 40), (101, 103, 100, 104), (33, 65, 31, 67),
]


def write_pillow():
    cases = []
    for height, width, new_height, new_width in PILLOW_SIZES:
        image = Image.fromarray(pattern(height, width))
        for number, name in enumerate(FILTERS):
            result = image.resize((new_width, new_height), number)
            cases.append({"from": [height, width], "to": [new_height, new_width], "filter": name,
                          "crc32": zlib.crc32(result.tobytes())})
    return cases


def write_torch(folder):
    """Every `stride`th value of the flat result lies in torch.bin, float32, in the order of the cases."""
    cases, samples = [], []
    for height, width, new_height, new_width in TORCH_SIZES:
        pixels = torch.from_numpy(pattern(height, width)).permute(2, 0, 1)[None]
        size = (new_height, new_width)
        for name in ["nearest", "bilinear", "bicubic"]:
            for antialias in [False, True] if name != "nearest" else [False]:
                options = {} if name == "nearest" else {"align_corners": False, "antialias": antialias}
                result = torch.nn.functional.interpolate(pixels.float(), size, mode=name, **options).flatten()
                stride = max(1, result.numel() // 256) | 1
                samples.append(result[::stride])
                byte = transforms.resize_image(pixels, list(size), getattr(transforms.InterpolationMode, name.upper()),
                                               antialias=antialias)
                cases.append({"from": [height, width], "to": list(size), "filter": name, "antialias": antialias,
                              "stride": stride, "samples": len(samples[-1]),
                              "bytes_crc32": zlib.crc32(byte[0].permute(1, 2, 0).contiguous().numpy().tobytes())})
    (folder / "torch.bin").write_bytes(torch.cat(samples).numpy().astype("<f4").tobytes())
    return cases


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    index = {
        "made_with": {"pillow": PIL.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__},
        "decode": write_decode(folder), "pillow": write_pillow(), "torch": write_torch(folder),
    }
    lines = ["{", f' "made_with": {json.dumps(index["made_with"])},']
    for key in ["decode", "pillow", "torch"]:
        lines += [f' "{key}": [', ",\n".join("  " + json.dumps(entry) for entry in index[key]),
                  " ]," if key != "torch" else " ]"]
    (folder / "cases.json").write_text("\n".join(lines + ["}"]) + "\n")


if __name__ == "__main__":
    main()
