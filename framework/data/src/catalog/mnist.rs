//! MNIST, whole and as the subset that is built in.
//!
//! The sums of the unpacked files are the project's own record of them, the sums of the gzipped
//! files those that TensorFlow Datasets keeps (`url_checksums/mnist.txt`). Both mirrors hold the
//! files of yann.lecun.com/exdb/mnist unchanged.

use super::{BuiltIn, Content, DataFile, DatasetInfo, Forms, Known, Split, Sum, names};
use crate::facts::{Counts, Remote};

const TITLE: &str = "MNIST";
const LICENCE: &str = "CC BY-SA 3.0, as commonly given (Y. LeCun, C. Cortes, C. J. C. Burges)";
const CITATION: &str = "LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition. Proceedings of the IEEE 86(11), 1998.";
const HOMEPAGE: &str = "http://yann.lecun.com/exdb/mnist/";
const MEAN: &[f64] = &[0.13066];
const STD: &[f64] = &[0.30811];
const MIRRORS: &[&str] =
    &["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"];

/// MNIST.
pub static MNIST: DatasetInfo = DatasetInfo {
    name: "mnist",
    title: TITLE,
    about: "handwritten digits, grey, 28 x 28",
    licence: LICENCE,
    citation: CITATION,
    homepage: HOMEPAGE,
    class_names: names::DIGITS,
    image: [1, 28, 28],
    counts: Counts { train: 60_000, test: 10_000 },
    mean: MEAN,
    std: STD,
    remotes: &[
        remote(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        remote(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        remote(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        remote("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
    files: &[
        DataFile {
            name: "train-images-idx3-ubyte",
            split: Split::Train,
            count: 60_000,
            content: Content::IdxImages,
            known: &[published("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db")],
        },
        DataFile {
            name: "train-labels-idx1-ubyte",
            split: Split::Train,
            count: 60_000,
            content: Content::IdxLabels,
            known: &[published("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5")],
        },
        DataFile {
            name: "t10k-images-idx3-ubyte",
            split: Split::Test,
            count: 10_000,
            content: Content::IdxImages,
            known: &[published("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7")],
        },
        DataFile {
            name: "t10k-labels-idx1-ubyte",
            split: Split::Test,
            count: 10_000,
            content: Content::IdxLabels,
            known: &[published("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2")],
        },
    ],
    // torchvision's `root` leaves them in MNIST/raw.
    forms: Forms { subfolders: &["raw", "MNIST/raw"], archives: &[], pickles: &[], built_in: None, strips: false },
};

/// Fashion-MNIST. Sums of the gzipped files: TensorFlow Datasets
/// (`url_checksums/fashion_mnist.txt`); unpacked files are checked by their form alone.
pub static FASHION_MNIST: DatasetInfo = DatasetInfo {
    name: "fashion_mnist",
    title: "Fashion-MNIST",
    about: "photographs of clothes in 10 classes, grey, 28 x 28",
    licence: "MIT (Zalando SE)",
    citation: "Xiao, Rasul, Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms. arXiv:1708.07747, 2017.",
    homepage: "https://github.com/zalandoresearch/fashion-mnist",
    class_names: names::CLOTHES,
    image: [1, 28, 28],
    counts: Counts { train: 60_000, test: 10_000 },
    mean: &[],
    std: &[],
    remotes: &[
        clothes(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        clothes(
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        clothes(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        clothes("t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
    files: &[
        unpacked("train-images-idx3-ubyte", Split::Train, 60_000, Content::IdxImages),
        unpacked("train-labels-idx1-ubyte", Split::Train, 60_000, Content::IdxLabels),
        unpacked("t10k-images-idx3-ubyte", Split::Test, 10_000, Content::IdxImages),
        unpacked("t10k-labels-idx1-ubyte", Split::Test, 10_000, Content::IdxLabels),
    ],
    forms: Forms {
        subfolders: &["raw", "FashionMNIST/raw"],
        archives: &[],
        pickles: &[],
        built_in: None,
        strips: false,
    },
};

const fn clothes(file: &'static str, bytes: u64, sha256: &'static str) -> Remote {
    Remote { file, bytes, sha256, mirrors: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"] }
}

const fn unpacked(name: &'static str, split: Split, count: usize, content: Content) -> DataFile {
    DataFile { name, split, count, content, known: &[] }
}

/// A tenth of MNIST, built in: see `assets/mnist_subset/README.md` for the selection and how it was
/// made.
pub static MNIST_SUBSET: DatasetInfo = DatasetInfo {
    name: "mnist_subset",
    title: "MNIST subset (10,000 + 2,000)",
    about: "the first 1,000 training and 200 test images of each digit of MNIST; built in",
    licence: LICENCE,
    citation: CITATION,
    homepage: HOMEPAGE,
    class_names: names::DIGITS,
    image: [1, 28, 28],
    counts: Counts { train: 10_000, test: 2_000 },
    mean: MEAN,
    std: STD,
    remotes: &[],
    files: &[
        DataFile {
            name: "train.bin",
            split: Split::Train,
            count: 10_000,
            content: Content::Records { coarse_classes: 0 },
            known: &[published("2730cb21562d015678810b318013a5cb2b5c9383c36c8ac6155d239dd1563d76")],
        },
        DataFile {
            name: "test.bin",
            split: Split::Test,
            count: 2_000,
            content: Content::Records { coarse_classes: 0 },
            known: &[published("4f7b372363542394fc63fed0e7e9dceccf6bbaa9d1ecf07eecde280088d8319d")],
        },
    ],
    forms: Forms {
        subfolders: &[],
        archives: &[],
        pickles: &[],
        built_in: Some(BuiltIn {
            train: include_bytes!("../../assets/mnist_subset/train.tar"),
            test: include_bytes!("../../assets/mnist_subset/test.tar"),
        }),
        strips: false,
    },
};

const fn remote(file: &'static str, bytes: u64, sha256: &'static str) -> Remote {
    Remote { file, bytes, sha256, mirrors: MIRRORS }
}

const fn published(sha256: &'static str) -> Known {
    Known { sum: Sum::Sha256(sha256), note: None }
}
