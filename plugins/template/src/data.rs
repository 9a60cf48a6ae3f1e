//! template_data: bars on grey images, drawn by the program.
//!
//! Where it comes from: whose images they are and under which licence, or how they are made.

use foil::prelude::*;

/// Ten classes of 28 x 28 grey images: a bright bar, whose height says which class it is.
///
/// `foil explain` prints this page, and the keys below with their meaning. A data set that lies in
/// files takes their folder as a key of type `Option<DataPath>`, and finds it with `cx.place`.
#[settings]
pub struct TemplateData {
    /// Training images of each class; a fifth as many test images come with them.
    #[set(default = 200, range = 5..=10_000)]
    pub per_class: u64,
}

struct Bars {
    per_class: usize,
}

const SIDE: usize = 28;
const CLASSES: usize = 10;

impl Config<dyn DataSource> for TemplateData {
    fn build(&self, _: &Build) -> Result<Box<dyn DataSource>> {
        Ok(Box::new(Bars { per_class: self.per_class as usize }))
    }
}

impl DataSource for Bars {
    fn facts(&self) -> Result<Facts> {
        Ok(Facts {
            name: "template_data".into(),
            title: "Bars".into(),
            about: "a bright bar at one of ten heights".into(),
            class_names: (0..CLASSES).map(|class| format!("bar {class}")).collect(),
            image: [1, SIDE, SIDE],
            counts: Counts { train: CLASSES * self.per_class, test: CLASSES * (self.per_class / 5) },
            ..Facts::default()
        })
    }

    /// Nowhere: there are no files.
    fn locate(&self) -> Result<Located> {
        Ok(Located { place: "drawn by the program".into(), files: Vec::new() })
    }

    fn read(&self, _: &Reading) -> Result<Dataset> {
        let facts = self.facts()?;
        let Counts { train, test } = facts.counts;
        Ok(Dataset {
            train: bars(0..train),
            test: bars(train..train + test),
            origin: self.locate()?.place,
            published: true,
            sums: Vec::new(),
            notes: Vec::new(),
            facts,
        })
    }
}

/// Image `n` has class `n % 10`; its bar starts at another column and is more or less bright.
fn bars(numbers: std::ops::Range<usize>) -> Images {
    let mut images = Images::with_room(numbers.len(), [1, SIDE, SIDE]);
    for n in numbers {
        let (class, start, bright) = (n % CLASSES, n * 7 % 12, 120 + n * 31 % 130);
        let (rows, columns) = (4 + 2 * class..6 + 2 * class, start..start + 16);
        images.labels.push(class as u16);
        let pixel = |at: usize| rows.contains(&(at / SIDE)) && columns.contains(&(at % SIDE));
        images.pixels.extend((0..SIDE * SIDE).map(|at| if pixel(at) { bright as u8 } else { 20 }));
    }
    images
}

register!(dyn DataSource, "template_data", TemplateData, "{ per_class: 200 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;

    #[test]
    fn the_bar_is_where_its_class_says() {
        let data = from_yaml::<dyn DataSource>("{ type: template_data, per_class: 5 }", Kind::Float);
        let read = data.read(&Reading::default()).unwrap();
        assert_eq!((read.train.len(), read.test.len()), (50, 10));
        assert_eq!(read.train.shape()[1..], [1, 28, 28]);
        let image = read.train.image(13).unwrap();
        // Image 13 is of class 3: rows 10 and 11, columns 7 to 22, brightness 120 + 403 % 130.
        let bright: Vec<usize> = (0..784).filter(|&at| image[at] == 133).collect();
        assert_eq!((bright.len(), bright[0], bright[31]), (32, 10 * 28 + 7, 11 * 28 + 22));
        assert_eq!(read.train.labels[13], 3);
    }
}
