"""One picture of the evening: bars, drawn with Pillow, which torchvision brings along."""

from dataclasses import dataclass
from pathlib import Path

from evening_results import Results
from evening_steps import TARGETS, name_of
from PIL import Image, ImageDraw, ImageFont

WIDTH, PANEL, BAR, LEFT, RIGHT = 1200, 44, 26, 330, 110
INK, GREY, FAINT = "#222222", "#666666", "#E6E6E6"
COLOURS = {"eager": "#56B4E9", "compiled": "#0072B2", "study": "#009E73"}


@dataclass(frozen=True)
class Bar:
    label: str
    value: float
    colour: str


def draw(results: Results, path: Path) -> None:
    panels = [(title, bars) for title, bars in (_speed(results), _rate(results), _overhead(results)) if bars]
    height = 120 + sum(PANEL + 20 + BAR * len(bars) for _, bars in panels)
    image = Image.new("RGB", (WIDTH, height), "white")
    pen = ImageDraw.Draw(image)
    about = results.about
    card = about["card"] or f"no card ({about['cpu_slots']} CPU cores)"
    pen.text((30, 20), f"GPU evening: {card}", fill=INK, font=_font(28))
    below = f"torch {about['torch']}, driver {about['driver'] or 'none'}, commit {about['commit']}"
    pen.text((30, 58), below + (", short budgets" if about["short"] else ""), fill=GREY, font=_font(17))
    top = 100
    for title, bars in panels:
        top = _panel(pen, top, title, bars)
    if not panels:
        pen.text((30, 90), "no figures yet", fill=GREY, font=_font(17))
    image.save(path)


def _panel(pen: ImageDraw.ImageDraw, top: int, title: str, bars: list[Bar]) -> int:
    """Draws one and returns where the next begins. All panels start at zero."""
    pen.text((30, top), title, fill=INK, font=_font(19))
    top += 32
    widest = max(bar.value for bar in bars) or 1.0
    for bar in bars:
        length = int((WIDTH - LEFT - RIGHT) * bar.value / widest)
        pen.text((30, top + 3), bar.label, fill=INK, font=_font(15))
        pen.rectangle((LEFT, top + 2, WIDTH - RIGHT, top + BAR - 4), fill=FAINT)
        pen.rectangle((LEFT, top + 2, LEFT + max(1, length), top + BAR - 4), fill=bar.colour)
        shown = f"{bar.value:,.0f}" if bar.value >= 100 else f"{bar.value:.2f}"
        pen.text((WIDTH - RIGHT + 12, top + 3), shown, fill=INK, font=_font(15))
        top += BAR
    return top + 32


def _speed(results: Results) -> tuple[str, list[Bar]]:
    bars = []
    for target in TARGETS:
        for count in (1, 2):
            for way in ("eager", "compiled"):
                value = results.figures(name_of(target, way, count)).get("images_per_s_together")
                if isinstance(value, float | int):
                    bars.append(Bar(name_of(target, way, count), float(value), COLOURS[way]))
    return "Training images a second, all trainings together", bars


def _rate(results: Results) -> tuple[str, list[Bar]]:
    return "Trials an hour", _of_studies(results, "trials_per_hour")


def _overhead(results: Results) -> tuple[str, list[Bar]]:
    return "Seconds of a trial outside its training, median", _of_studies(results, "overhead_p50_s")


def _of_studies(results: Results, key: str) -> list[Bar]:
    bars = []
    for name in ("study, one worker", "study, two workers"):
        value = results.figures(name).get(key)
        if isinstance(value, float | int):
            bars.append(Bar(name, float(value), COLOURS["study"]))
    return bars


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
