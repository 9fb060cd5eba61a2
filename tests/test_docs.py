"""The pages: links and anchors, names of files, modules and flags, widths of lines, one version."""

import re
from pathlib import Path

import pytest
import yaml

from src.config.keys import DEFAULT_PATH
from src.runtime.version import __version__
from tests.conftest import REPOSITORY

WIDTH = 120  # characters of a line of prose
README_LINES = 120
AFTERNOON_LINES = 5000  # of the files that docs/architecture.md names for one
PAGES = sorted(
    path
    for folder in (".", "ckpt", "docs", "docs/images", "examples/serve")
    for path in (REPOSITORY / folder).glob("*.md")
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# paths from the top of the repository; not those inside another folder, as in output/coco/config/
PATHS = re.compile(
    r"(?<![\w/.-])(?:\./)?((?:benchmarks|config|docker|docs|examples|scripts|src|tests)/[\w./*-]*)"
)
SCRIPTS = re.compile(r"(?<![\w/.<*{-])(\w+\.(?:py|sh))\b")
PATCH = re.compile(r"^```diff\n.*?^```$", re.M | re.S)
MODULES = re.compile(r"(?:-m |from |import )(src(?:\.\w+)*)")
NAMED = re.compile(r"`(src(?:\.\w+)+)`")
COMMANDS = re.compile(r"\bpython3? (?:train|eval|export|predict)\.py(.*)")
FLAGS = re.compile(r"\s--([a-z_0-9]+)")
MPIRUN = """\
mpirun -allow-run-as-root -n 8 --output-filename log_output --merge-stderr-to-stdout \\
python3 train.py --run_distribute=True --lr=0.05 --dataset=coco --device_num=8 --loss_scale=1 --device_target="GPU" \\
--epoch_size=60 --config_path=./config/ssd_resnet50_fpn_config_gpu.yaml --output_path './output' > log.txt 2>&1 &
"""  # noqa: E501


def split_code(text: str) -> tuple[list[str], list[str]]:
    """The lines outside and inside fenced code blocks."""
    prose, code, fenced = [], [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        else:
            (code if fenced else prose).append(line)
    assert not fenced, "a code block that does not end"
    return prose, code


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found, counts = set(), {}
    for line in split_code(text)[0]:
        if heading := re.match(r"#{1,6} +(.*?)(?: +#+)?$", line):
            shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])  # of a link its text
            slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
            number = counts[slug] = counts.get(slug, -1) + 1
            found.add(f"{slug}-{number}" if number else slug)
    return found


def broken_links(page: Path) -> list[str]:
    """Relative links of a page whose file or anchor does not exist."""
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in LINK.findall("\n".join(split_code(text)[0])):
        if re.match(r"[a-z]+:", target):  # https: and mailto:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            broken.append(target)
    return broken


def module_exists(name: str) -> bool:
    """Whether `src.a.b` is a module, or a name in one."""
    path = REPOSITORY / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    parent = path.parent.with_suffix(".py")
    return parent.is_file() and bool(
        re.search(rf"^(?:def |class )?{path.name}\b", parent.read_text("utf-8"), re.MULTILINE)
    )


def test_anchors_are_those_of_github():
    page = "# A page\n## How `--gpu` works\n## Measured, and predicted\n```\n# no heading\n```\n"
    page += "## One [link](a.md) and_more\n## Twice\n## Twice\n## Über 2.5 %\n"
    expected = "a-page how---gpu-works measured-and-predicted one-link-and_more twice twice-1"
    assert anchors(page) == {*expected.split(), "über-25-"}


def test_broken_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# Here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Top\n[a](other.md) [b](other.md#here) [c](#top) [d](https://x.org/#y)\n```\n[e](f)\n```\n"
        "[g](none.md) [h](other.md#there) ![i](none.png)\n[j\nk](#bottom)\n"
    )
    assert broken_links(page) == ["none.md", "other.md#there", "none.png", "#bottom"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
class TestPage:
    def test_links_lead_somewhere(self, page):
        assert broken_links(page) == []

    def test_files_exist(self, page):
        text = page.read_text(encoding="utf-8")
        paths = {path.rstrip(".") for path in PATHS.findall(text)}
        assert [path for path in sorted(paths) if not list(REPOSITORY.glob(path))] == []
        tops = (".", "benchmarks", "examples", "scripts", "src", "tests")
        known = {
            path.name
            for top in tops
            for path in (REPOSITORY / top).glob("*" if top == "." else "**/*")
        }
        assert sorted(set(SCRIPTS.findall(text)) - known) == []

    def test_modules_exist(self, page):
        text = PATCH.sub("", page.read_text(encoding="utf-8"))  # test_extending.py applies them
        names = {*MODULES.findall(text), *NAMED.findall(text)}
        assert [name for name in sorted(names) if not module_exists(name)] == []
        for name in re.findall(r"-m (src(?:\.\w+)*)", text):
            path = REPOSITORY / name.replace(".", "/")
            runnable = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
            assert "__main__" in (runnable.read_text("utf-8") + runnable.name), name

    def test_flags_are_keys(self, page):
        keys = {
            "config",
            "config_path",
            "help",
            "all",
            "no",
            *yaml.safe_load(DEFAULT_PATH.read_text("utf-8")),
        }
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        commands = COMMANDS.findall(text.replace("`", "\n"))
        flags = {flag for command in commands for flag in FLAGS.findall(command)}
        assert sorted(flags - keys) == []

    def test_prose_is_not_wide(self, page):
        prose = split_code(page.read_text(encoding="utf-8"))[0]
        assert [
            line for line in prose if len(line) > WIDTH and not line.lstrip().startswith("|")
        ] == []


def test_the_readme_is_short_and_narrow():
    lines = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= README_LINES
    assert [line for line in lines if len(line) > WIDTH] == []


def test_the_readme_links_to_each_page():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    targets = {target.partition("#")[0] for target in LINK.findall(text)}
    pages = {str(page.relative_to(REPOSITORY)) for page in PAGES} - {"README.md"}
    assert sorted(pages - targets) == []


@pytest.mark.parametrize("page", ["README.md", "docs/distributed.md"])
def test_the_command_of_eight_cards_stays_word_for_word(page):
    assert MPIRUN in (REPOSITORY / page).read_text(encoding="utf-8")


def test_the_changelog_is_of_this_version():
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == __version__


def test_the_detector_can_be_read_in_an_afternoon():
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    block = page.split("### An afternoon's reading")[1].split("```")[1]
    folders = [line.split() for line in block.splitlines() if line]
    files = [(folder, word) for folder, *words in folders for word in words if ".py" in word]
    assert len(files) > 20
    lines = sum(len((REPOSITORY / f / name).read_text().splitlines()) for f, name in files)
    assert lines < AFTERNOON_LINES


def test_pages_that_sources_name_exist():
    folders = ("benchmarks", "config", "docker", "examples", "scripts", "src", "tests")
    sources = [path for folder in folders for path in (REPOSITORY / folder).rglob("*")]
    for path in [*sources, *REPOSITORY.glob("*.py"), *REPOSITORY.glob("*.txt")]:
        if path.suffix in (".py", ".sh", ".yaml", ".txt", ".cpu", ".gpu", ".ascend"):
            named = re.findall(r"\b(?:docs|ckpt)/\w+\.md\b", path.read_text(encoding="utf-8"))
            assert [page for page in named if not (REPOSITORY / page).is_file()] == [], path
