//! Whether images fit a network.

use foil::prelude::*;

fn require(cx: &Build, fits: bool, takes: &str, help: &str) {
    if !fits {
        let [c, h, w] = [cx.data.channels, cx.data.height, cx.data.width];
        cx.problem("", format!("takes {takes}; the data's are {c} x {h} x {w} (channels, height, width)"), help);
    }
}

/// For networks whose linear layers fit MNIST's images only.
pub(crate) fn require_digits(cx: &Build) {
    let fits = [cx.data.channels, cx.data.height, cx.data.width] == [1, 28, 28];
    require(cx, fits, "grey images of 28 x 28", "`preact_resnet18`, `resnet18` and `wide_resnet` take colour images");
}

/// For residual networks, which halve the image up to three times: on smaller images they would
/// convolve only padding.
pub(crate) fn require_eight_pixels(cx: &Build) {
    let fits = cx.data.height.min(cx.data.width) >= 8;
    require(cx, fits, "images of at least 8 x 8", "`small_cnn` takes images of any size");
}

/// For networks with ImageNet's stem, which make the image four times smaller before the first
/// stage.
pub(crate) fn require_large(cx: &Build) {
    let fits = cx.data.height.min(cx.data.width) >= 32;
    require(cx, fits, "images of at least 32 x 32", "`resnet18` takes images of at least 8 x 8");
}

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, assert_takes, problems};
    use foil::registry::DataFacts;

    const MODELS: [&str; 11] = [
        "{ type: mlp, hidden: [16] }",
        "{ type: small_cnn, width: 4, hidden: 16 }",
        "lenet5_madry",
        "trades_cnn",
        "resnet18",
        "preact_resnet18",
        "{ type: wide_resnet, depth: 10, width: 1 }",
        "dm_preact_resnet18",
        "{ type: dm_wide_resnet, depth: 10, width: 1 }",
        "{ type: imagenet_resnet, depth: 18 }",
        "{ type: imagenet_resnet, depth: 50 }",
    ];

    fn shaped([channels, height, width]: [i64; 3]) -> DataFacts {
        DataFacts { channels, height, width, ..CIFAR10 }
    }

    /// Whether it takes them; if not, it names their size.
    #[track_caller]
    fn takes(model: &str, shape: [i64; 3]) -> bool {
        let found = problems(model, shaped(shape));
        let size = shape.map(|n| n.to_string()).join(" x ");
        let named = format!("the data's are {size} ");
        assert!(found.is_empty() || found.len() == 1 && found[0].contains(&named), "{model}, {size}: {found:?}");
        found.is_empty()
    }

    #[test]
    fn a_model_takes_images_or_names_their_size() {
        for shape in [[1, 9, 12], [2, 10, 14], [3, 17, 11]] {
            let taking: Vec<&str> = MODELS.into_iter().filter(|model| takes(model, shape)).collect();
            assert_eq!(taking.len(), 7);
            taking.into_iter().for_each(|model| assert_takes(model, shaped(shape)));
        }
        MODELS[2..4].iter().for_each(|model| assert_takes(model, shaped([1, 28, 28])));
        MODELS[9..].iter().for_each(|model| assert_takes(model, shaped([4, 33, 40])));
    }

    /// Those that say which images they take do not refuse others without need.
    #[test]
    fn most_models_take_images_of_any_shape() {
        let taking = |shape| MODELS.iter().filter(|model| takes(model, shape)).count();
        assert_eq!([[1, 28, 28], [2, 30, 44], [4, 64, 224], [3, 224, 224]].map(taking), [9, 7, 9, 9]);
    }
}
