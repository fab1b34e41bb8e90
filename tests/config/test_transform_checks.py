"""A recipe's transforms are tried on its images when it is made, and albumentations is only imported for that."""

import subprocess
import sys
from dataclasses import replace

import pytest

from imettk.config import StageConfig, differences, fingerprint, from_json, to_json
from imettk.config.overrides import apply_overrides
from imettk.config.transform_checks import check_transforms
from imettk.errors import ConfigError
from imettk.recipes import load_recipe

TEXTS = ("HorizontalFlip(p=0.5)", "OneOf([MotionBlur(5), GaussNoise()], p=0.3)")


def recipe_with(*transforms, channels=1, **stage):
    recipe = load_recipe("digits")
    images = replace(recipe.images, channels=channels, mean=None, std=None)
    return replace(recipe, images=images, stages=(StageConfig(transforms=transforms, **stage),))


def test_the_command_line_json_and_the_fingerprint_carry_them(tmp_path):
    recipe = load_recipe("digits")
    changed = apply_overrides(recipe, ["--stages.0.transforms", *TEXTS])
    assert changed.stages[0].transforms == TEXTS and from_json(to_json(changed)) == changed
    assert fingerprint(changed) != fingerprint(recipe)
    assert any("stages.0.transforms" in line for line in differences(recipe, changed))
    assert apply_overrides(changed, ["--stages.0.transforms"]) == recipe
    path = tmp_path / "saved.json"
    path.write_text(to_json(replace(changed, stages=(replace(changed.stages[0], transforms=("Blurr(3)",)),))))
    with pytest.raises(ConfigError, match=r"`stages.0.transforms` 'Blurr\(3\)': there is no .* did you mean Blur\?"):
        load_recipe(str(path))


def test_what_does_not_parse_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"`transforms` of StageConfig: 'Blur\(': not valid Python"):
        StageConfig(transforms=("Blur(3)", "Blur("))
    with pytest.raises(ConfigError, match=r"`transforms` of StageConfig must be text, such as"):
        StageConfig(transforms=(3,))


@pytest.mark.parametrize(
    ("channels", "text", "fault"),
    [
        (1, "HueSaturationValue(p=0.01)", r"HueSaturationValue does not take images uint8 \(48, 48, 1\): .*grayscale"),
        (4, "OneOf([Blur(3), CLAHE()], p=0.1)", r"CLAHE does not take images uint8 \(48, 48, 4\)"),
        (3, "RandomCrop(200, 200, p=0.1)", r"RandomCrop does not take images uint8 \(48, 48, 3\): .*"),
        (1, "ToRGB()", r"ToRGB must return images of uint8 \(H, W, 1\), got uint8 \(48, 48, 3\)"),
        (3, "ToFloat()", r"ToFloat must return images of uint8 \(H, W, 3\), got float32 \(48, 48, 3\)"),
        (3, "ToTensorV2()", r"ToTensorV2 must return images of uint8 \(H, W, 3\), got torch.uint8 \(3, 48, 48\)"),
    ],
)
def test_transforms_that_do_not_fit_the_images_are_refused_however_rare(channels, text, fault):
    with pytest.raises(ConfigError, match=rf"^`stages.0.transforms` .*{fault}") as caught:
        check_transforms(recipe_with("HorizontalFlip()", text, channels=channels))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sizes_may_change_on_the_way(channels):
    check_transforms(recipe_with("Sequential([Resize(80, 90), RandomCrop(64, 64)])", "CenterCrop(60, 60)"))
    check_transforms(recipe_with("RandomCrop(64, 64)", channels=channels, augmentation="flips", image_size=(64, 72)))


def test_without_a_check_albumentations_is_not_imported():
    code = (
        "import sys; from imettk.config import StageConfig; StageConfig(transforms=('Blur(3)',)); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"albumentations", "cv2", "numpy", "torch"} & set(loaded)
