"""The parser and the checker of script files, against a real Tcl and the larger checker where they are there."""

import importlib.util
import json
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nk import curves, tcl
from nk.check import check
from nk.expression import ExpressionError, evaluate
from nk.facts import CLASSES, load
from nk.script import Script, tree
from texts import LOOK

FACTS = load()
PIECES = [
    "{",
    "}",
    '"',
    "\\",
    " ",
    "\n",
    "a",
    "b c",
    "[",
    "]",
    "$",
    "\\{",
    "\\\n ",
    "\\n",
    "\\x41",
    ";",
    "#",
    "0.5",
    "\t",
]


def interpreter():
    tkinter = pytest.importorskip("tkinter")
    return tkinter.Tcl(), tkinter.TclError


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_lists_are_split_as_tcl_splits_them(text):
    real, error = interpreter()
    try:
        wanted = list(real.splitlist(text))
    except error:
        with pytest.raises(tcl.TclError):
            tcl.split(text)
        return
    assert tcl.split(text) == wanted


@settings(max_examples=300)
@given(st.lists(st.sampled_from([piece for piece in PIECES if piece not in "$[]"]), max_size=14).map("".join))
def test_commands_have_the_words_that_tcl_gives_them(text):
    real, error = interpreter()
    seen = []
    real.createcommand("unknown", lambda *words: seen.append(list(words)) or "")
    try:
        real.eval(text)
        whole = True
    except error as problem:
        if not any(word in str(problem) for word in ("missing", "extra", "unmatched")):
            return  # the name happens to be a command
        whole = False
    try:
        mine = [words for _, words in tcl.commands(text, lambda words: "", lambda name: "")]
    except tcl.TclError:
        assert not whole
        return
    assert whole and mine == seen


def test_substitution_runs_commands_and_reads_variables():
    ran = []
    text = tcl.substituted(
        r"a\[b] [exists parent.input2] $x ${y}z [outer [inner 1]]",
        lambda words: ran.append(words) or f"<{words[0]}>",
        {"x": "1", "y": "2"}.__getitem__,
    )
    assert text == "a[b] <exists> 1 2z <outer>"
    assert ran == [["exists", "parent.input2"], ["inner", "1"], ["outer", "<inner>"]]


def test_a_group_is_wired_as_its_stack_says():
    script = Script(LOOK)
    assert script.problems == []
    group = script.root.children[0]
    feeds = {child.name: [source.name if source else None for source in child.inputs] for child in group.children}
    assert feeds["Mix"] == ["plate", "Gain", "Holdout"]
    assert feeds["Holdout"] == ["Grow", "holdout"]
    assert feeds["Raw"] == ["face"]
    assert group.values["source"] == "network"
    assert group.path == "Look1" and group.child("Gain").path == "Look1.Gain"


def test_a_paste_takes_the_selection():
    selected = Script("Dot {\n inputs 0\n name Here\n}\n").root.children[0]
    text = "set cut_paste_input [stack 0]\nversion 14.1 v5\npush $cut_paste_input\nNoOp {\n name Next\n}\n"
    assert Script(text, selected).root.children[0].inputs == [selected]
    assert Script(text).root.children[0].inputs == [None]


def test_a_right_text_has_no_problems():
    assert check(LOOK, FACTS) == []


BROKEN = {
    "brace": (" }\n ChannelMerge", " \n ChannelMerge", "close-brace"),
    "group": ("end_group\n", "", "without end_group"),
    "knob": ("  maskChannel alpha", "  maskChanel alpha", 'no knob "maskChanel"'),
    "obsolete": ("  channels rgb\n  maskChannel", "  channels rgb\n  maskChannelFrom 1\n  maskChannel", "no knob"),
    "menu": ("operation multiply", "operation multiplied", "not in the menu"),
    "user menu": ("source network", "source netwerk", "not in the menu"),
    "class": (" Keymix {", " KeyMix {", "not in the table"),
    "link": ("T Matrix.matrix", "T Matrx.matrix", 'no "Matrx"'),
    "link knob": ("T Matrix.matrix", "T Matrix.matrox", 'no "matrox"'),
    "expression name": ("parent.gain.g", "parent.gian.g", 'no "gian"'),
    "expression part": ("{parent.gain.g}", "{parent.gain.w}", 'no component "w"'),
    "expression": ('"parent.grow == 0"', '"parent.grow == "', "missing in the expression"),
    "unquoted": ('{{"parent.grow == 0"}}', "{{parent.grow == 0}}", "needs quotes"),
    "wiring": ("push $Nface\n", "", "nothing to connect"),
    "inputs": ("  inputs 3\n  channels", "  inputs 4\n  channels", "takes 3"),
    "source": ("  inputs 0\n  name plate", "  name plate", "takes 0 (write inputs 0)"),
    "number": ("  number 2", "  number 3", "Input numbers"),
    "variable": ("push $Nface", "push $Nfaces", "can't read"),
    "layer": ("add_layer {raw raw.red raw.green raw.blue}\n", "", 'no add_layer for "raw"'),
    "channel": ("add_layer {raw raw.red raw.green raw.blue}", "add_layer {raw raw.red raw.green}", '"raw.blue"'),
    "nan": ("amount 0.75", "amount nan", "finite"),
    "curve nan": ("x1003 1.25", "x1003 nan", "finite"),
    "curve order": ("x1001 1.5 x1003 1.25", "x1003 1.5 x1001 1.25", "increase"),
    "curve x": ("x1001 1.5 x1003 1.25", "x1001 1.5 1.25", "no x"),
    "curve empty": ("{curve L x1001 1.5 x1003 1.25}", "{curve}", "without keys"),
    "curves": (" 0.5 {curve K x1001 1 x1002 2}}", " 0.5}", "has 2 values"),
    "rows": ("      {-0.2 0 1.1}\n", "", "3 rows"),
    "boolean": ("on true", "on yes", "true or false"),
    "code": ("addUserKnob {18 gain}", "addUserKnob {99 gain}", "not known"),
    "declared late": (
        " addUserKnob {7 amount R 0 1}\n amount 0.75\n",
        " amount 0.75\n addUserKnob {7 amount R 0 1}\n",
        "before its addUserKnob",
    ),
    "script": ("print(os.sep)", "print(os.sep", "never closed"),
    "mappings": ("4 raw.red", "5 raw.red", "six words"),
    "twice": ("name Matrix\n", "name Raw\n", "second node"),
    "output": (" Output {\n  name Output1\n }\n", "", "0 Output nodes"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_text_is_caught(kind):
    right, wrong, said = BROKEN[kind]
    assert LOOK.count(right) >= 1
    problems = check(LOOK.replace(right, wrong, 1), FACTS)
    assert any(said in what for _, what in problems), problems


def larger_checker(shared):
    spec = importlib.util.spec_from_file_location("larger_checker", shared / "checks" / "nk_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.tkinter is None:
        pytest.skip("the larger checker needs tkinter")
    return module


def test_the_larger_checker_says_the_same_of_every_broken_text(shared):
    larger = larger_checker(shared)
    table = json.loads((shared / "checks" / "nuke_nodes.json").read_text())

    def problems(text):
        script = larger.Script(text)
        larger.Checker(script, table, True)
        return script.problems

    assert problems(LOOK) == []
    # Two it cannot see: an expression that is none, and a set without its name.
    for kind in set(BROKEN) - {"expression", "variable"}:
        right, wrong, _ = BROKEN[kind]
        assert problems(LOOK.replace(right, wrong, 1)), kind


def test_trees_are_those_of_the_larger_checker(shared):
    larger = larger_checker(shared)
    files = sorted((shared / "checks").glob("*itive/*.gizmo")) + sorted((shared / "checks" / "negative").iterdir())
    assert len(files) > 5
    texts = [file.read_text() for file in files] + [LOOK]
    for text in texts:
        mine, theirs = Script(text), larger.Script(text)
        if not any("close-brace" in what for _, what in mine.problems):
            assert list(tree(mine.root)) == list(larger.tree(theirs.root))
    assert list(tree(Script(texts[0]).root)) == (shared / "checks/positive/face_comp.tree").read_text().splitlines()


def test_examples_are_judged_as_their_folder_says(shared):
    for file in (shared / "checks" / "positive").glob("*.gizmo"):
        assert check(file.read_text(), FACTS) == []
    negative = list((shared / "checks" / "negative").iterdir())
    assert len(negative) >= 6
    for file in negative:
        assert check(file.read_text(), FACTS), file


def test_the_facts_are_those_of_the_full_table(shared):
    full = json.loads((shared / "checks" / "nuke_nodes.json").read_text())
    ours = json.loads(CLASSES.read_text())
    assert ours["common"] == full["common"]
    assert len(ours["nodes"]) > 20
    for name, entry in ours["nodes"].items():
        assert entry == full["nodes"][name], name


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 ** 2", 19),
        ("-2 ** 2", -4),
        ("(1 < 2) && !(3 >= 4)", 1),
        ("0 || 0 ? 5 : 2 == 2 ? 7 : 9", 7),
        ("clamp(1.5) + max(1, 2, 3) - min(4, 5)", 0),
        ("7 % 4 + fmod(7, 4)", 6),
        ("lerp(2, 4, 0.25)", 2.5),
        ("int(-1.5) + floor(-1.5) + ceil(1.2)", -1),
        ("1e2*.5", 50),
        ("2^3", 8),
        ("here + sooner(frame - 1)", 1107),
        ("[asked a.b] * 2", 84),
    ],
)
def test_expressions_follow_c(text, value):
    class Known:
        def name(self, dotted):
            return {"here": 7.0, "frame": 101.0}[dotted]

        def name_at(self, dotted, frame):
            return 1000 + frame if dotted == "sooner" else 0

        def command(self, words):
            assert words == ["asked", "a.b"]
            return "42"

    assert evaluate(text, Known()) == pytest.approx(value)


@pytest.mark.parametrize("text", ["1 +", "a b", "(1", "f(1,2)", "1 ? 2", "@", "* 3"])
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(ExpressionError):
        evaluate(text, None)


def test_curves_hold_go_and_bend():
    held = curves.parsed(["K", "x1", "2", "x5", "4"])
    assert [held.at(f) for f in (0, 1, 4.9, 5, 9)] == [2, 2, 2, 4, 4]
    straight = curves.parsed(["L", "x1", "2", "x5", "4"])
    assert straight.at(2) == 2.5
    smooth = curves.parsed(["x1", "0", "x2", "1", "x3", "2"])
    assert smooth.at(2) == 1 and smooth.at(1.5) == pytest.approx(0.5, abs=0.1)
    assert curves.parsed(["x1", "0", "5", "7"], explicit=False).at(3) == 7


def test_random_bytes_never_hang_or_crash_the_checker():
    chance = random.Random(5)
    for _ in range(150):
        text = list(LOOK)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(text))
            text[at] = chance.choice(["{", "}", '"', "\\", "[", "]", "$", "\0", "", " ", "\n", "é"])
        check("".join(text), FACTS)


def test_reading_scripts_needs_nothing_but_the_standard_library():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nimport nk.check, nk.values, nk.facts\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'nk'}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(CLASSES.parent)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("[]", "['__main__']"), done.stdout
