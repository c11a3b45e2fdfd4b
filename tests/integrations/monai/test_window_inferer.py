"""Our inferer in MONAI's place: the same numbers, in its evaluators and configs."""

import pytest
import torch
from torch.testing import assert_close

import densevit.inference
from densevit.inference import NativeGrid
from tests.inference.common import make_network
from tools.peers import import_peer

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def inferers():
    return import_peer("monai.inferers")


@pytest.fixture
def images():
    return torch.randn(2, 2, 30, 21, 26, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", [{}, dict(sw_batch_size=4, overlap=0.5, mode="gaussian")], ids=str)
@pytest.mark.parametrize("padding", ["constant", "replicate", "reflect"])
@pytest.mark.parametrize("roi_size", [16, (12, 24, 16), (16, -1, 12)], ids=str)
def test_logits_are_those_of_monais_inferer(inferers, images, roi_size, padding, options):
    network = make_network(3)
    options = dict(roi_size=roi_size, padding_mode=padding, **options)
    theirs = inferers.SlidingWindowInferer(**options)(images, network)
    assert_close(densevit.inference.SlidingWindowInferer(**options)(images, network), theirs, rtol=0, atol=1e-5)


def test_it_is_an_inferer(inferers):
    assert issubclass(densevit.inference.SlidingWindowInferer, inferers.Inferer)


def test_a_meta_tensor_keeps_its_affine(images):
    data = import_peer("monai.data")
    tensor = data.MetaTensor(images, affine=torch.diag(torch.tensor([2.0, 3, 4, 1])))
    result = densevit.inference.SlidingWindowInferer(16)(tensor, make_network(3))
    assert isinstance(result, data.MetaTensor)
    assert torch.equal(result.affine, tensor.affine)


def test_the_affine_follows_the_result_to_another_grid(images):
    data = import_peer("monai.data")
    tensor = data.MetaTensor(images[:1], affine=torch.diag(torch.tensor([2.0, 3, 4, 1])))
    native = NativeGrid.same_extent((60, 42, 13), images.shape[2:])
    result = densevit.inference.SlidingWindowInferer(16, reduce="labels", native=native)(tensor, make_network(3))
    assert result.shape == (1, 1, 60, 42, 13)
    # Half the spacing on the first two axes, twice on the last; the outer corners stay where they were.
    corner = torch.tensor([-0.5, -0.5, -0.5, 1.0], dtype=result.affine.dtype)
    assert_close(result.affine.diagonal(), torch.tensor([1.0, 1.5, 8, 1], dtype=result.affine.dtype))
    assert_close(result.affine @ corner, tensor.affine.to(corner) @ corner)


def test_what_monais_bundles_say_is_taken_and_what_would_change_the_result_is_refused(inferers, images):
    network, common = make_network(3), dict(roi_size=16, overlap=(0.5, 0.25, 0.25), progress=False, buffer_steps=1)
    theirs = inferers.SlidingWindowInferer(**common)(images, network)
    ours = densevit.inference.SlidingWindowInferer(**common, cache_roi_weight_map=True, cpu_thresh=10**9)(
        images, network
    )
    assert_close(ours, theirs, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"sigma_scale must be 0.125 and with_coord False, got 0.2 and False"):
        densevit.inference.SlidingWindowInferer(16, sigma_scale=0.2)


def test_labels_come_with_a_channel_as_from_as_discrete(images):
    network = make_network(3)
    logits = densevit.inference.SlidingWindowInferer(16)(images, network)
    labels = densevit.inference.SlidingWindowInferer(16, reduce="labels")(images, network)
    assert torch.equal(labels, logits.argmax(1, keepdim=True))


def test_further_arguments_go_to_the_network(images):
    inferer = densevit.inference.SlidingWindowInferer(16)
    result = inferer(images, lambda x, shift, *, factor: x * factor + shift, 1.0, factor=2)
    assert_close(result, images * 2 + 1)


def test_a_roi_of_another_rank_is_explained(images):
    with pytest.raises(ValueError, match=r"roi_size \(8, 8\) needs images of 2 axes, got \(2, 2, 30, 21, 26\)"):
        densevit.inference.SlidingWindowInferer((8, 8))(images, make_network(3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_bundles_config_names_it(images):
    parser = import_peer("monai.bundle").ConfigParser(
        {"inferer": {"_target_": "densevit.inference.SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.5}}
    )
    inferer = parser.get_parsed_content("inferer")
    assert inferer(images, make_network(3)).shape == (2, 5, 30, 21, 26)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_an_evaluator_runs_it_in_place_of_monais_own(inferers, images):
    import_peer("ignite")
    engines = import_peer("monai.engines")
    network, results = make_network(3), []
    for inferer in (inferers.SlidingWindowInferer(16, 2, 0.5), densevit.inference.SlidingWindowInferer(16, 2, 0.5)):
        loader = [dict(image=image[None], label=image[None, :1]) for image in images]
        evaluator = engines.SupervisedEvaluator(torch.device("cpu"), loader, network, inferer=inferer)
        kept = []
        evaluator.add_event_handler("ITERATION_COMPLETED", lambda e, kept=kept: kept.append(e.state.output[0]["pred"]))
        evaluator.run()
        results.append(torch.stack([p.as_tensor() if hasattr(p, "as_tensor") else p for p in kept]))
    assert results[0].shape == (2, 5, 30, 21, 26)
    assert_close(results[1], results[0], rtol=0, atol=1e-5)
