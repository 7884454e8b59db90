"""Files as users have them: right ones, and one for each way in which a file can be wrong."""

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from PIL import Image

BYTES = np.zeros((10, 4, 4), np.uint8)
TEST_ROW = int(np.random.RandomState(0).permutation(20)[0])  # of 20 rows, in the test split
SOME_NANS = np.where(np.arange(160).reshape(10, 16) == 37, np.nan, 0.5)


def blobs(count, *shape):
    """Return images [count, *shape] of bright spots at random places, uint8."""
    random = np.random.RandomState(1)
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = [random.uniform(2, size - 2, (count, 1, 1)) for size in shape[:2]]
    grey = np.exp(-((y - centres[0]) ** 2 + (x - centres[1]) ** 2) / 8)
    colours = grey[..., None] * random.uniform(0.2, 1, (count, 1, 1, shape[2])) if len(shape) > 2 else grey
    return (255 * colours).astype(np.uint8)


def save(**arrays):
    """Return a function that writes the arrays to a file."""
    return lambda path: np.savez(path, **arrays)


def promise(shape, size):
    """Return a function that writes an .npz whose header promises another size than it has."""

    def write(path):
        header = io.BytesIO()
        npy.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train.npy", header.getvalue() + bytes(size))

    return write


def flip_bit(path):
    """Write a compressed file with a wrong byte."""
    file = io.BytesIO()
    np.savez_compressed(file, train=np.random.RandomState(0).randint(0, 255, (50, 8)).astype(np.uint8))
    content = bytearray(file.getvalue())
    content[100] ^= 255
    path.write_bytes(content)


def text(content):
    """Return a function that writes text or bytes to a file."""
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def images(**files):
    """Return a function that makes a folder: the pixels, or the text, of each file; __ stands for a slash."""

    def write(folder: Path):
        for name, content in files.items():
            path = folder / f"{name.replace('__', '/')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content)
            else:
                Image.fromarray(content).save(path)

    return write


def cut_image(folder):
    """Make a folder whose only image is cut."""
    noise = np.random.RandomState(0).randint(0, 255, (64, 64)).astype(np.uint8)
    images(train__a=noise)(folder)
    path = folder / "train" / "a.png"
    path.write_bytes(path.read_bytes()[:400])


FAULTY = {  # file name: how to write it, words of the error
    "shapes.npz": (save(train=BYTES, test=BYTES[:, 1:]), "have the shape (4, 4) in train and (3, 4) in test"),
    "nan.npz": (save(train=SOME_NANS), "train has a value that is not finite in row 2"),
    "infinite.npz": (save(train=BYTES, test=np.full((3, 4, 4), np.inf)), "test has a value that is not finite in"),
    "empty.npz": (save(train=BYTES[:0], test=BYTES), "train has 0 examples"),
    "no-test.npz": (save(train=BYTES, test=BYTES[:0]), "test has 0 examples"),
    "no-dimensions.npz": (save(train=np.zeros((10, 0))), "train has the shape (10, 0)"),
    "vector.npz": (save(train=np.zeros(10)), "train has the shape (10,)"),
    "number.npz": (save(train=np.float32(3)), "train has the shape ()"),
    "labels.npz": (save(train=BYTES, test=BYTES, test_labels=np.arange(3)), "one whole number for each of the 10"),
    "labels-only.npz": (save(train=BYTES, test_labels=np.arange(10)), "it has test_labels but no array test"),
    "other-names.npz": (save(x_train=BYTES, y_train=np.arange(10)), "it has the arrays x_train, y_train; rename them"),
    "complex.npz": (save(train=np.ones((10, 3), complex)), "train has the type complex128"),
    "words.npz": (save(train=np.array([["a", "b"]] * 10)), "train has the type <U1"),
    "objects.npz": (save(train=np.array([{}, []], dtype=object)), "contains Python objects, which can run code"),
    "promise.npz": (promise((10 * 2**30, 1), 100), "its header promises 10,737,418,240 bytes, and it has 100"),
    "negative.npz": (promise((-5, -2), 10), "it is no .npz file that can be read"),
    "flipped.npz": (flip_bit, "it is no .npz file that can be read"),
    "text.npz": (text("hello"), "it is no .npz file that can be read"),
    "nothing.npz": (text(""), "it is no .npz file that can be read"),
    "archive.npz": (text(b"PK\5\6" + bytes(18)), "it has no array train"),
    "semicolons.csv": (text("a;b\n1;2\n3;4\n"), "separated by semicolons; export it with commas"),
    "no-header.csv": (text("1,2\n3,4\n5,6\n7,8\n"), "its first line has numbers; add a header"),
    "word.csv": (text("a,b\n1,2\nx,3\n4,5\n"), "line 3, column a has 'x', which is no finite number"),
    "gap.csv": (text("a,b\n1,2\n4,\n4,5\n"), "line 3, column b has no value"),
    "infinite.csv": (text("a,b\n1,inf\n4,1\n4,5\n"), "line 2, column b has 'inf', which is no finite number"),
    "commas.csv": (text("a,b\n1,5,2,7\n2,5,3,7\n"), "its rows have more values than its header"),
    "row-numbers.csv": (text(",a,b\n0,1,2\n1,3,4\n2,5,7\n"), "column 1 has no name"),
    "almost-constant.csv": (
        text("a,b\n" + "".join(f"{0.2 if i == TEST_ROW else 0.1},{i}\n" for i in range(20))),
        "column a has one value in all training rows",
    ),
    "constant.csv": (text("a,b\n1,2\n1,3\n1,5\n1,8\n"), "column a has the value 1 in all rows; remove the column"),
    "short.csv": (text("a,b\n1,2\n3,4\n"), "it has 2 rows; a table for training and test needs at least 3"),
    "nothing.csv": (text(""), "it is no table with commas"),
    "bytes.csv": (text(bytes(range(256))), "it is no table with commas"),
    "ragged.csv": (text("a,b\n1,2\n1,2,3\n"), "it is no table with commas"),
    "utf16.csv": (text("a,b\n1,2\n3,4\n".encode("utf-16")), "export it as CSV in UTF-8"),
    "no-image": (images(train__a=BYTES[0], train__b="text"), "train/b.png is no image that can be read"),
    "cut": (cut_image, "train/a.png is no image that can be read"),
    "sizes": (images(train__a=BYTES[0], train__b=BYTES[0, 1:]), "has 4 x 3 pixels, and other images have 4 x 4"),
    "deep": (images(train__a=np.zeros((5, 6), np.uint16)), "has the mode I;16; convert it"),
    "no-train": (images(test__a=BYTES[0]), "it has the folder test, but no folder train"),
    "no-images": (lambda path: (path / "train").mkdir(parents=True), "the folder train contains no images"),
    "data.txt": (text("1 2"), "the name does not end with .npz or .csv"),
    "absent.npz": (lambda path: None, "No such file or directory"),
    "absent": (lambda path: None, "there is no such file or folder"),
}  # fmt: skip
