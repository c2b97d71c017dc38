"""The one call: the contract, the report, and what is refused."""

import io

import pandas as pd
import pytest
import torch
import torch.distributed as dist
from plain_networks import resnet
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import idinit
from idinit.errors import UsageError
from idinit.parts import Structure

X = torch.zeros(2, 3, 8, 8)


def _resnet(**options):
    return resnet((3, 8, 8), 5, **options)


class Other(nn.Module):
    """A network of nobody's zoo: an embedding, a residual branch, dropout, a head, a tied weight."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(11, 6)
        self.up = nn.Linear(6, 6)
        self.down = nn.Linear(6, 6)
        self.out = nn.Linear(6, 11, bias=False)
        self.out.weight = self.tokens.weight

    def forward(self, ids):
        x = self.tokens(ids)
        return self.out(x + self.down(torch.dropout(self.up(x).relu(), 0.5, self.training)))


def test_the_contract():
    model = _resnet()
    report = idinit.initialize_(model, "idinit", example_inputs=(X,))
    assert [(row.part, row.rule, row.note) for row in report.rows] == [
        ("stem", "IDI(1), patch", "ours, the paper does not say"),
        *[("branch", "IDI(1), patch", ""), ("branch_end", "IDIZ(1e-06), patch", "")] * 3,
        ("head", "torch default", "ours, the paper does not say"),
        ("bias", "0", ""),
    ]
    weight = torch.empty(4, 4, 3, 3)
    assert torch.equal(model.get_submodule("stage1.0.branch.conv1").weight, idinit.init.identity_(weight, layout="patch"))
    assert torch.equal(model.get_submodule("stage1.0.branch.conv2").weight, idinit.init.zero_preserving_(weight, eps=1e-6))


def test_a_foreign_network():
    model = Other()
    report = idinit.initialize_(model, "idinit", example_inputs=(torch.zeros(2, 3, dtype=torch.long),))
    rows = {row.parameter: row for row in report.rows}
    assert {name: row.part for name, row in rows.items() if "weight" in name} == {
        "tokens.weight": "embedding",
        "up.weight": "branch",
        "down.weight": "branch_end",
    }
    assert (rows["tokens.weight"].rule, rows["tokens.weight"].note) == ("N(0, 0.02)", "shared with out.weight")
    assert report.left_alone == ()
    assert torch.equal(model.up.weight, torch.eye(6))


def test_finding_parts_leaves_the_global_generator_alone():
    model = Other()
    state = torch.get_rng_state()
    idinit.initialize_(model, "idinit", example_inputs=(torch.zeros(2, 3, dtype=torch.long),))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def test_parts_can_be_overridden():
    model = _resnet()
    report = idinit.initialize_(model, "idinit", (X,), parts={"stage3.*": "trunk", "stage3.*conv2.weight": "head"}, head="zero")
    parts = {row.parameter: (row.part, row.rule) for row in report.rows}
    assert parts["stage3.0.branch.conv1.weight"] == ("trunk", "IDI(1), patch")
    assert parts["stage3.0.branch.conv2.weight"] == ("head", "0")
    assert parts["stage2.0.branch.conv2.weight"] == ("branch_end", "IDIZ(1e-06), patch")


def test_the_report_is_a_table_of_every_parameter():
    model = _resnet()
    report = idinit.initialize_(model, "fixup", (X,), stem="he")
    names = [name for name, _ in model.named_parameters()]
    text = str(report)
    assert text.splitlines()[0] == "fixup(stem=he)"
    heads, dashes, *lines = text.splitlines()[2:-2]
    starts = [place for place, mark in enumerate(dashes) if mark == "-" and dashes[place - 1 : place] in ("", " ")]
    cells = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in lines]
    assert heads.split() == ["parameter", "shape", "part", "rule", "note"]
    assert sorted(row[0] for row in cells) == sorted(names)
    assert ["stage2.0.branch.conv1.weight", "8x4x3x3", "branch", "Kaiming normal, fan-out, x 0.5774", ""] in cells
    note = "added, acts on stage2.0.branch.conv1 and stage2.0.shortcut, lr x 0.1"
    assert ["stage2.0.branch.conv1.input_bias.value", "1", "bias", "0", note] in cells
    assert text.splitlines()[-1].strip() == f"{len(names)} parameters, 0 left alone"
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_names_that_look_like_markup_print_as_they_are():
    model = nn.ModuleDict({"[bold]": nn.Linear(2, 2), ":x:": nn.Linear(2, 2)})
    parts = {name: "trunk" for name, _ in model.named_parameters()}
    text = str(idinit.initialize_(model, "xavier", parts=Structure(parts, ())))
    assert "[bold].weight" in text and ":x:.weight" in text


def test_the_report_as_a_data_frame():
    report = idinit.initialize_(_resnet(), "idinit", (X,))
    frame = report.to_pandas()
    assert list(frame.columns) == ["parameter", "shape", "part", "rule", "note"]
    assert len(frame) == len(report.rows) == 9
    assert frame.set_index("parameter").loc["head.weight", "shape"] == (5, 16)
    back = pd.read_csv(io.StringIO(frame.to_csv(index=False)), keep_default_na=False)
    assert back["rule"].tolist() == [row.rule for row in report.rows]


def test_initializers_are_listed():
    infos = {info.name: info for info in idinit.list_initializers()}
    assert list(infos) == sorted(infos)
    expected = "default delta_orthogonal fixup idinit kaiming orthogonal rezero skipinit xavier zero zero_gamma"
    assert set(expected.split()) <= set(infos)
    assert infos["fixup"].needs == ("branches", "no_norm")
    options = {option.name: (option.type, option.default) for option in infos["idinit"].options}
    assert options["tau"] == ("float", 1.0) and options["zero_preserving"] == ("bool", True)
    assert options["layout"] == ("Literal['patch', 'spatial', 'channel']", "patch")
    with pytest.raises(AttributeError):
        infos["fixup"].name = "other"


@pytest.mark.parametrize(
    ("method", "kwargs", "line"),
    [
        ("fixop", {}, "'fixop'.*'fixup' or 't_fixup'.*admin, conditioned, deepnorm"),
        ("idinit", {"lay": "patch"}, "'idinit'.*'lay'.*layout"),
        ("idinit", {"layout": "row"}, "'idinit'.*layout=row.*patch.*spatial.*channel"),
        ("idinit", {"tau": -1.0}, "'idinit'.*tau=-1.0.* 0"),
        ("kaiming", {"gain": 1.0}, "'kaiming'.*'gain'.*distribution, mode"),
        ("idinit", {"example_inputs": None}, r"example_inputs=\(x,\)"),
        ("idinit", {"seed": 1, "generator": torch.Generator()}, "generator.*seed"),
        ("idinit", {"parts": {"stem.*": "root"}}, "'root'.*trunk"),
        ("idinit", {"parts": {"stam.*": "stem"}}, r"'stam\.\*'"),
    ],
)
def test_what_is_refused(method, kwargs, line):
    model = _resnet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UsageError, match=line) as error:
        idinit.initialize_(model, method, **{"example_inputs": (X,), **kwargs})
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_without_memory_is_refused():
    with torch.device("meta"):
        model = _resnet()
    with pytest.raises(UsageError, match=r"to_empty\(device=...\)"):
        idinit.initialize_(model, "idinit", example_inputs=(X,))
    model = model.to_empty(device="cpu")
    idinit.initialize_(model, "fixup", example_inputs=(X,))
    assert torch.equal(model(X), torch.zeros(2, 5))


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(idinit.UsageError, match="no parameters"):
        idinit.initialize_(nn.Sequential(nn.ReLU()), "idinit", (X,))


def test_a_model_is_sharded_after_it_was_initialized() -> None:
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = _resnet()
        idinit.initialize_(model, "rezero", (X,))
        output = model(X)
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        assert torch.equal(model(X), output)
        with pytest.raises(UsageError, match="before fully_shard"):
            idinit.initialize_(model, "rezero", (X,))
    finally:
        dist.destroy_process_group()


def test_loose_identity_scatters_by_the_seed():
    models = [_resnet() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        idinit.initialize_(model, "idinit", (X,), seed=seed, loose=True, loose_std=1e-3)
    a, b, c = (model.get_submodule("stage3.0.branch.conv1").weight for model in models)
    assert torch.equal(a, b) and not torch.equal(a, c)
    entries = a[a != 0]
    assert len(entries) == 16 and 0 < (entries - 1).abs().max() < 6e-3


def test_what_is_to_be_kept_is_kept() -> None:
    model = _resnet()
    before = {name: value.clone() for name, value in model.named_parameters()}
    report = idinit.initialize_(model, "idinit", (X,), keep=("stem.*", "stage3.*.conv2.weight"))
    kept = {row.parameter for row in report.left_alone if row.note == "kept, as asked"}
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert kept == {name for name in before if name.startswith("stem.")} | {"stage3.0.branch.conv2.weight"}
    assert not kept & changed and len(changed) > 5
    with pytest.raises(UsageError, match=r"keep.*'steem.\*'.*'stem.weight'"):
        idinit.initialize_(model, "idinit", (X,), keep=("steem.*",))


def test_keep_may_be_one_pattern():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    report = idinit.initialize_(model, "kaiming", (torch.rand(3, 4),), keep="0*")
    assert [row.parameter for row in report.left_alone] == ["0.weight", "0.bias"]


def test_the_remedy_for_the_meta_device_says_what_it_unties():
    with torch.device("meta"):
        model = nn.ModuleDict({"embed": nn.Embedding(9, 4), "head": nn.Linear(4, 9, bias=False)})
        model["head"].weight = model["embed"].weight
    with pytest.raises(UsageError, match="to_empty.*'head.weight'.*'embed.weight'"):
        idinit.initialize_(model, "kaiming", (torch.zeros(1, dtype=torch.long),))
