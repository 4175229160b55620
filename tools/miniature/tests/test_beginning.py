"""How the transformer begins: with its noise, the layout, and rulers that layout and words move."""

from copy import copy, deepcopy

import pytest
import torch
from diffusers import FluxPipeline

from tools.miniature import parts
from tools.miniature.illustrator.layout import NUMBERS
from tools.miniature.illustrator.pictures import Shape, ShapePicture
from tools.miniature.tokenizers import T5_TOKENS
from tools.miniature.training import flow
from tools.miniature.training.steps.optimizer import Optimizer, inside_blocks
from tools.miniature.training.structure import ballast, beginning, coupling, placing, rulers, stream
from tools.miniature.training.structure.asking import unpack, velocity

AFTER_ATTENTION = "transformer_blocks.0.norm2"


@pytest.fixture(scope="module")
def untaught() -> FluxPipeline:
    return flow.untrained(parts.autoencoder())


@pytest.fixture
def to_be_taught(untaught: FluxPipeline) -> FluxPipeline:
    """The same, with a transformer of its own."""
    pipeline = copy(untaught)
    pipeline.transformer = deepcopy(untaught.transformer)
    return pipeline


def tokens_before(
    pipeline: FluxPipeline, module: str, layouts: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """What a module of the transformer is given: (pictures, rows, columns, width)."""
    seen: list[torch.Tensor] = []
    hook = pipeline.transformer.get_submodule(module).register_forward_hook(
        lambda _, given, __: seen.append(given[0])
    )
    count = len(layouts)
    noise = coupling.noise_for(layouts, torch.randn(count, NUMBERS, height, width))
    text = torch.randn(count, parts.WIDTH), torch.randn(count, T5_TOKENS, parts.WIDTH)
    with torch.no_grad():
        velocity(pipeline.transformer, noise, torch.ones(count), text)
    hook.remove()
    image_tokens = seen[0][:, -(height // 2) * (width // 2) :]  # text stands before them
    return image_tokens.unflatten(1, (height // 2, width // 2))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 32)])
def test_every_token_begins_with_the_layout_before_it(
    untaught: FluxPipeline, height: int, width: int
) -> None:
    layouts = torch.rand(16, NUMBERS)
    there = tokens_before(untaught, AFTER_ATTENTION, layouts, height, width)[:, 3, 4, stream.LAYOUT]
    used = layouts[:, : there.shape[1]]
    wanted = torch.special.ndtri(used.clamp(coupling.EDGE, 1 - coupling.EDGE))
    assert torch.corrcoef(torch.stack([there.flatten(), wanted.flatten()]))[0, 1] > 0.97


def test_every_token_begins_with_its_row_and_column(untaught: FluxPipeline) -> None:
    tokens = tokens_before(untaught, AFTER_ATTENTION, torch.rand(2, NUMBERS), 24, 32)
    rows, columns = tokens[..., stream.ROW_SHARE], tokens[..., stream.COLUMN_SHARE]
    assert torch.allclose(rows, rows[:1, :, :1].expand_as(rows), atol=1e-3)
    assert torch.allclose(columns, columns[:1, :1].expand_as(columns), atol=1e-3)
    assert rows[0, :, 0].diff().min() > 0.05
    assert columns[0, 0].diff().min() > 0.05


def test_the_first_answer_is_the_noise(untaught: FluxPipeline) -> None:
    noise = torch.randn(4, NUMBERS, 16, 16)
    text = torch.randn(4, parts.WIDTH), torch.randn(4, T5_TOKENS, parts.WIDTH)
    with torch.no_grad():
        answer = unpack(velocity(untaught.transformer, noise, torch.ones(4), text), 16, 16)
    assert (answer - noise).square().mean() < 0.03


def layouts_with(across: float, down: float) -> torch.Tensor:
    layouts = torch.full((1, NUMBERS), 0.5)
    layouts[0, 0], layouts[0, 1] = across, down
    return layouts


def marks(pipeline: FluxPipeline, layouts: torch.Tensor, which: range) -> torch.Tensor:
    """The marks that both first blocks leave to the others at 512x512: (rows, columns, marks)."""
    tokens = tokens_before(pipeline, "single_transformer_blocks.0.norm", layouts, 16, 16)
    return tokens[0, ..., which.start : which.stop]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 24), (24, 32), (32, 32)])
def test_every_token_knows_its_row_and_column_after_the_first_block(
    untaught: FluxPipeline, height: int, width: int
) -> None:
    tokens = tokens_before(
        untaught, "transformer_blocks.1.norm1.norm", layouts_with(0.5, 0.5), height, width
    )
    for dimension, axis in ((stream.ROW, 1), (stream.COLUMN, 0)):
        places = tokens[0, ..., dimension].mean(axis) * stream.MEASURE + stream.MIDDLE
        assert (places - torch.arange(len(places))).abs().max() < 0.3


def test_every_token_begins_with_the_mark_it_is_at(untaught: FluxPipeline) -> None:
    rows = marks(untaught, layouts_with(0.5, 0.5), stream.ROW_MARKS)
    assert (rows.mean(1) - torch.eye(stream.MARKS)).abs().max() < 0.3


@pytest.mark.parametrize(("border", "step"), [(1 / 3, -1), (2 / 3, 0)])
def test_hardly_any_seed_falls_between_two_steps_of_the_layout(
    untaught: FluxPipeline, border: float, step: int
) -> None:
    torch.manual_seed(5)
    layouts = border + 0.03 * (2 * torch.rand(32, NUMBERS) - 1)
    tokens = tokens_before(untaught, "transformer_blocks.1.norm1.norm", layouts, 16, 16)
    done = tokens[..., stream.LAYOUT].mean((1, 2)) - step  # 0 before the border, 1 behind it
    assert ((done > 0.1) & (done < 0.9)).float().mean() < 0.15


@pytest.mark.parametrize(("down", "step"), [(0.1, -1), (0.5, 0), (0.9, 1)])
def test_the_layout_moves_the_near_marks_by_a_token(
    untaught: FluxPipeline, down: float, step: int
) -> None:
    nearest = marks(untaught, layouts_with(0.5, down), stream.NEAR_ROW_MARKS).mean(1).argmax(1)
    assert nearest.tolist() == [row + 1 - step for row in range(8)]


def test_words_move_the_near_marks_once_the_lesson_is_learned(to_be_taught: FluxPipeline) -> None:
    pipeline = to_be_taught
    picture = ShapePicture(Shape("star"), place="top")
    level, pooled = torch.ones(1), torch.zeros(1, parts.WIDTH)
    assert placing.loss(pipeline.transformer, level, pooled, [picture]) > 0.5
    bias = pipeline.transformer.transformer_blocks[1].norm1.linear.bias
    optimizer = torch.optim.Adam([bias], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        placing.loss(pipeline.transformer, level, pooled, [picture]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    nearest = marks(pipeline, layouts_with(0.5, 0.9), stream.NEAR_ROW_MARKS).mean(1).argmax(1)
    # The middle of the marks, between the fifth and the sixth, came from row 4 to row 2; the layout rests.
    assert nearest[:7].tolist() == [3, 4, 5, 6, 7, 8, 9]


def test_what_was_built_stays_as_it_is_and_all_else_learns(to_be_taught: FluxPipeline) -> None:
    pipeline = to_be_taught
    transformer = pipeline.transformer
    beginning.hold(transformer)
    gates = [block.norm1.linear.bias for block in transformer.transformer_blocks]
    with torch.no_grad():  # nothing is learned through a closed gate
        for gate in gates:
            gate[gate == 0] = 0.1
    noise = torch.randn(2, NUMBERS, 16, 16)
    text = torch.randn(2, parts.WIDTH), torch.randn(2, T5_TOKENS, parts.WIDTH)
    answer = velocity(pipeline.transformer, noise, torch.ones(2), text)
    answer.square().mean().backward()  # type: ignore[no-untyped-call]
    assert transformer.transformer_blocks[0].attn.to_q.weight.grad is None
    second = transformer.transformer_blocks[1]
    for gradient, built in (
        (second.ff.net[0].proj.weight.grad, slice(rulers.UNITS[1])),
        (second.ff.net[2].weight.grad.T, slice(rulers.UNITS[1])),
        (second.attn.to_v.weight.grad, slice(second.attn.head_dim)),
        (second.attn.to_out[0].weight.grad, slice(stream.MEAN_ROW, stream.MEAN_COLUMN + 1)),
    ):
        assert gradient.any()
        assert not gradient[built].any()


def test_what_is_learned_around_the_rulers_does_not_move_them(to_be_taught: FluxPipeline) -> None:
    pipeline = to_be_taught
    transformer = pipeline.transformer
    beginning.hold(transformer)
    layouts = torch.rand(4, NUMBERS)
    read = list(stream.READ)

    def seen() -> torch.Tensor:
        torch.manual_seed(6)
        tokens = tokens_before(pipeline, "transformer_blocks.1.norm2", layouts, 16, 16)
        return tokens - tokens[..., stream.NOTHING, None]

    before = seen()
    named = {name: value for name, value in transformer.named_parameters() if value.requires_grad}
    optimizer = Optimizer(named, inside_blocks(named), rate=0.01, inside_rate=0.01)
    for number in range(10):
        torch.manual_seed(number)
        noise = torch.randn(2, NUMBERS, 16, 16)
        text = torch.randn(2, parts.WIDTH), torch.randn(2, T5_TOKENS, parts.WIDTH)
        with ballast.weighed(transformer) as off:
            answer = velocity(transformer, noise, torch.ones(2), text)
        error = (answer - torch.randn_like(answer)).square().mean() + ballast.loss(off)
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step(1.0)
    after = seen()
    assert (after[..., : stream.ANSWER] - before[..., : stream.ANSWER]).abs().max() > 0.1
    assert (after[..., read] - before[..., read]).abs().max() < 0.1


def test_a_stream_that_outgrows_its_ballast_is_an_error(to_be_taught: FluxPipeline) -> None:
    transformer = to_be_taught.transformer
    noise = torch.randn(2, NUMBERS, 16, 16)
    text = torch.randn(2, parts.WIDTH), torch.randn(2, T5_TOKENS, parts.WIDTH)
    with torch.no_grad():
        with ballast.weighed(transformer) as built:
            velocity(transformer, noise, torch.ones(2), text)
        transformer.transformer_blocks[0].ff.net[2].bias[0] = 40
        transformer.transformer_blocks[0].norm1.linear.bias[5 * parts.WIDTH] = 1
        with ballast.weighed(transformer) as grown:
            velocity(transformer, noise, torch.ones(2), text)
    assert ballast.loss(built) < 0.01
    assert not ballast.outgrown(built)
    assert ballast.outgrown(grown)
    velocity(transformer, noise, torch.ones(2), text)
    assert len(grown) == 2  # nothing is weighed once it is closed


@torch.no_grad()
def test_prompts_are_read_as_the_pipeline_reads_them(untaught: FluxPipeline) -> None:
    untaught.text_encoder_2.eval()
    prompts = ["a red circle", "three yellow stars on a purple background, watercolor"]
    read = flow.read_prompts(untaught, prompts)
    sequence, pooled, _ = untaught.encode_prompt(prompts, None, max_sequence_length=T5_TOKENS)
    assert torch.allclose(read[0], pooled, atol=1e-5)
    assert torch.allclose(read[1], sequence, atol=1e-5)
