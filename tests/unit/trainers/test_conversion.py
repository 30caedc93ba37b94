"""Weights of PyTorch and TensorFlow.js without their libraries: every layout, and nothing that a pickle may smuggle in."""

import io
import json
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from fovea_trainers.conversion import tfjs, torch_pickle
from fovea_trainers.errors import WeightsError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
KINDS = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage", "u1": "ByteStorage"}


class Tensor:
    """What a pickle of PyTorch says of a tensor."""

    def __init__(self, key, row, shape, strides, offset=0):
        self.key, self.row, self.shape, self.strides, self.offset = key, row, shape, strides, offset


@pytest.fixture
def torch(monkeypatch):
    """Modules that have the names which PyTorch's pickles refer to."""
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}
    for kind in KINDS.values():
        setattr(modules["torch"], kind, type(kind, (), {"__module__": "torch"}))

    modules["torch._utils"]._rebuild_tensor_v2 = type("_rebuild_tensor_v2", (), {"__module__": "torch._utils"})
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules


def pickled(content, torch):
    class Pickler(pickle.Pickler):
        def persistent_id(self, each):
            if isinstance(each, tuple) and each and each[0] == "storage":
                key, row = each[1:]
                return ("storage", getattr(torch["torch"], KINDS[row.dtype.str[1:]]), key, "cpu", row.size, None)
            return None

        def reducer_override(self, each):
            if not isinstance(each, Tensor):
                return NotImplemented
            storage = ("storage", each.key, each.row)
            build = torch["torch._utils"]._rebuild_tensor_v2
            return build, (storage, each.offset, each.shape, each.strides, False, OrderedDict())

    file = io.BytesIO()
    Pickler(file, protocol=2).dump(content)
    return file.getvalue()


def legacy(path, content, torch):
    """As torch.save wrote until 1.6: pickles, and the rows of numbers behind them."""
    rows = {each.key: each.row for each in content.values()}
    with path.open("wb") as file:
        for part in (MAGIC, PROTOCOL, {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {}}):
            pickle.dump(part, file, protocol=2)
        file.write(pickled(content, torch))
        pickle.dump(sorted(rows), file, protocol=2)
        for key in sorted(rows):
            file.write(struct.pack("<q", rows[key].size) + rows[key].tobytes())
    return path


def zipped(path, content, torch):
    """As it writes since."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickled(content, torch))
        archive.writestr("model/byteorder", "little")
        for each in content.values():
            if f"model/data/{each.key}" not in archive.namelist():
                archive.writestr(f"model/data/{each.key}", each.row.tobytes())
    return path


LAYOUTS = [legacy, zipped]


@pytest.fixture
def content():
    row = np.arange(24, dtype=np.float32)
    state = OrderedDict(
        weight=Tensor("10", row, (2, 3, 4), (12, 4, 1)),
        turned=Tensor("10", row, (4, 6), (1, 4)),
        part=Tensor("10", row, (2, 2), (4, 1), offset=5),
        steps=Tensor("9", np.array([7], np.int64), (), ()),
        half=Tensor("8", np.array([0.5, 2], np.float16), (2,), (1,)),
        exact=Tensor("7", np.array([np.pi]), (1,), (1,)),
        none=Tensor("6", np.zeros(0, np.float32), (0, 3), (3, 1)),
    )
    state._metadata = OrderedDict([("", {"version": 1})])
    return state


@pytest.mark.parametrize("write", LAYOUTS)
def test_tensors_of_both_layouts_are_read_with_their_strides_and_types(tmp_path, content, torch, write):
    found = torch_pickle.read(write(tmp_path / "model.pth", content, torch))
    row = np.arange(24, dtype=np.float32)
    wanted = {
        "weight": row.reshape(2, 3, 4),
        "turned": row.reshape(6, 4).T,
        "part": np.array([[5, 6], [9, 10]], np.float32),
        "steps": np.array(7),
        "half": np.array([0.5, 2], np.float16),
        "exact": np.array([np.pi]),
        "none": np.zeros((0, 3), np.float32),
    }
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype
        assert np.array_equal(found[name], value), name


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("write", LAYOUTS)
def test_a_pickle_that_names_a_function_is_refused_and_calls_nothing(tmp_path, torch, write):
    victim = tmp_path / "victim"
    content = {"weight": Tensor("1", np.zeros(1, np.float32), (1,), (1,))}
    path = write(tmp_path / "model.pth", content, torch)
    plain, evil = pickled(content, torch), pickled({"weight": Attack(victim)}, torch)
    if write is legacy:
        path.write_bytes(path.read_bytes().replace(plain, evil))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/data.pkl", evil)
    with pytest.raises(WeightsError, match=r"it holds io.open, and not tensors alone; save model.state_dict\(\) alone"):
        torch_pickle.read(path)
    assert not victim.exists()


@pytest.mark.parametrize("write", LAYOUTS)
@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("1", np.zeros(6, np.float32), (2, 4), (4, 1)),
        Tensor("1", np.zeros(6, np.float32), (2, 3), (3, 1), offset=1),
        Tensor("1", np.zeros(6, np.float32), (2,), (-1,), offset=3),
        Tensor("1", np.zeros(6, np.float32), (2,), (1,), offset=-9),
        Tensor("1", np.zeros(6, np.float32), (2, 3), (3,)),
    ],
)
def test_a_tensor_outside_of_its_numbers_is_refused(tmp_path, torch, write, tensor):
    path = write(tmp_path / "model.pth", {"weight": tensor}, torch)
    with pytest.raises(WeightsError, match=r"reaches beyond its 6 numbers|has strides .* and offset"):
        torch_pickle.read(path)


@pytest.mark.parametrize("write", LAYOUTS)
def test_a_file_of_pytorch_that_is_cut_off_is_named(tmp_path, torch, content, write):
    path = write(tmp_path / "model.pth", content, torch)
    whole = path.read_bytes()
    for length in (20, 300, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"model.pth cannot be read as a state_dict"):
            torch_pickle.read(path)


@pytest.mark.parametrize("write", LAYOUTS)
def test_a_few_numbers_do_not_become_a_tensor_that_fills_the_memory(tmp_path, torch, write):
    tensor = Tensor("1", np.zeros(6, np.float32), (2**24, 2**24), (0, 0))
    path = write(tmp_path / "model.pth", {"weight": tensor}, torch)
    with pytest.raises(WeightsError, match="has only 6 numbers"):
        torch_pickle.read(path)


def test_numbers_that_a_zip_file_compresses_are_refused_before_they_take_memory(tmp_path, torch):
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", pickled({"weight": Tensor("1", np.zeros(1, "f4"), (1,), (1,))}, torch))
        archive.writestr("model/data/1", bytes(2**20))
    with pytest.raises(WeightsError, match="its members are compressed"):
        torch_pickle.read(path)


def test_a_size_beyond_the_file_takes_no_memory(tmp_path, torch):
    path = tmp_path / "model.pth"
    legacy(path, {"weight": Tensor("1", np.zeros(6, np.float32), (6,), (1,))}, torch)
    path.write_bytes(path.read_bytes()[: -8 - 24] + struct.pack("<q", 2**60) + bytes(24))
    with pytest.raises(WeightsError, match="it is cut off: 4611686018427387904 bytes are wanted, and 24 are there"):
        torch_pickle.read(path)


def test_a_large_number_of_a_memo_takes_no_memory(tmp_path, torch):
    path = tmp_path / "model.pth"
    content = pickled({"weight": Tensor("1", np.zeros(1, np.float32), (1,), (1,))}, torch)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", content.removesuffix(b".") + b"r\xff\xff\xff\x7f.")
        archive.writestr("model/data/1", bytes(4))
    assert list(torch_pickle.read(path)) == ["weight"]


@pytest.mark.parametrize(
    "evil",
    [
        b"\x80\x02ctorch\nFloatStorage\nN}X\x05\x00\x00\x00dtypeX\x01\x00\x00\x00Os\x86b.",  # sets a frozen field
        b"\x80\x022222.",  # nothing on the stack
        b"\x80\x02X\x05\x00.",  # the length of a text is cut off
    ],
)
def test_a_pickle_that_python_fails_at_in_its_own_way_is_named(tmp_path, evil):
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", evil)
    with pytest.raises(WeightsError, match=r"model.pth cannot be read as a state_dict"):
        torch_pickle.read(path)


def test_what_is_no_state_dict_is_refused(tmp_path, torch):
    path = tmp_path / "model.pth"
    path.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="is no file of PyTorch: it begins with b'<html>'"):
        torch_pickle.read(path)
    zipped(path, {}, torch)
    with pytest.raises(WeightsError, match="it holds a dict, and no tensors by name"):
        torch_pickle.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickled({"epoch": 3}, torch))
    with pytest.raises(WeightsError, match="'epoch' is no tensor"):
        torch_pickle.read(path)


def manifest(folder, weights, *shards, path="model-weights_manifest.json", **more):
    for number, shard in enumerate(shards, start=1):
        (folder / f"shard{number}.bin").write_bytes(shard)
    paths = more.pop("paths", [f"shard{number}.bin" for number in range(1, len(shards) + 1)])
    file = folder / path
    document = [{"paths": paths, "weights": weights}]
    file.write_text(json.dumps({"weightsManifest": document, "format": "x"} if path == "model.json" else document))
    return file


WEIGHTS = [
    {"name": "kernel", "shape": [2, 3], "dtype": "float32"},
    {"name": "scaled", "shape": [3], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.1, "min": -1}},
    {"name": "wide", "shape": [2], "dtype": "float32", "quantization": {"dtype": "uint16", "scale": 1e-4, "min": 0}},
    {"name": "half", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
    {"name": "steps", "shape": [], "dtype": "int32", "quantization": {"dtype": "uint8", "scale": 2, "min": 1}},
    {"name": "axis", "shape": [1], "dtype": "int32"},
]
BYTES = (
    np.arange(6, dtype="<f4").tobytes()
    + bytes([0, 10, 255])
    + np.array([1, 65535], "<u2").tobytes()
    + np.array([0.5, -2], "<f2").tobytes()
    + bytes([4])
    + np.array([-3], "<i4").tobytes()
)


@pytest.mark.parametrize("path", ["model-weights_manifest.json", "model.json"])
def test_arrays_of_tensorflow_js_are_read_across_files_and_out_of_few_bits(tmp_path, path):
    found = tfjs.read(manifest(tmp_path, WEIGHTS, BYTES[:10], BYTES[10:], path=path))
    wanted = {
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scaled": np.array([-1, 0, 24.5], np.float32),
        "wide": np.array([1e-4, 6.5535], np.float32),
        "half": np.array([0.5, -2], np.float32),
        "steps": np.array(9, np.int32),
        "axis": np.array([-3], np.int32),
    }
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert np.allclose(found[name], value, rtol=1e-6, atol=0), name


@pytest.mark.parametrize(
    ("shard", "weights", "more", "said"),
    [
        (BYTES[:-1], WEIGHTS, {}, "the files of weights end within axis"),
        (BYTES + b"x", WEIGHTS, {}, "have 41 bytes, and the arrays 40"),
        (BYTES, WEIGHTS, {"paths": ["../../etc/passwd"]}, "../../etc/passwd is no file beside it"),
        (BYTES, WEIGHTS, {"paths": ["shard1.bin"] * 2}, "it names a file of weights twice"),
        (BYTES, [{"name": "x", "shape": [1]}], {}, "it has no 'dtype'"),
        (BYTES, [{"name": "x", "shape": [1], "dtype": "string"}], {}, "it has no 'string'"),
    ],
)
def test_a_manifest_that_does_not_fit_its_files_is_refused(tmp_path, shard, weights, more, said):
    file = manifest(tmp_path, weights, shard, **more)
    with pytest.raises(WeightsError) as caught:
        tfjs.read(file)
    assert f"{file} cannot be read as a manifest of TensorFlow.js: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "<html>", "3", '{"format": 1}', '["x"]'])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(WeightsError, match="give the JSON file that lies beside the files of weights"):
        tfjs.read(file)
