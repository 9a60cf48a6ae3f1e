//! The page: runs, their curves, the chosen run's losses, and the machine.

use super::{Load, View, Watched};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph, Row, Table};

/// The colours of the curves; with more runs they repeat.
const COLOURS: [Color; 6] = [Color::Cyan, Color::Magenta, Color::Yellow, Color::Green, Color::Blue, Color::Red];
/// How many runs' curves are drawn; more would be indistinguishable.
const CURVES: usize = 6;
/// Lines of the list.
const LISTED: usize = 10;

/// Draws `view` with the run number `chosen` in detail.
pub fn draw(frame: &mut Frame, view: &View, load: &Load, chosen: usize) {
    let chosen = chosen.min(view.runs.len().saturating_sub(1));
    let shown = view.runs.len().min(LISTED);
    let rows = [Constraint::Length(1), Constraint::Length(shown as u16 + 3), Constraint::Min(8), Constraint::Length(9)];
    let [head, list, curves, below] = Layout::vertical(rows).areas(frame.area());
    let training = format!("{} of {} runs active", view.busy(), view.runs.len());
    let title = Line::from(vec!["foil watch  ".bold(), training.into(), "   ↑ ↓ choose, q ends".dim()]);
    frame.render_widget(title, head);
    self::list(frame, list, view, chosen);
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(curves);
    let robust = view.runs.iter().find_map(Watched::robust).unwrap_or("robust");
    chart(frame, left, view, "natural", &|run| run.curve("natural"));
    chart(frame, right, view, robust, &|run| run.robust().map(|name| run.curve(name)).unwrap_or_default());
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(below);
    if let Some(run) = view.runs.get(chosen) {
        detail(frame, left, run);
    }
    machine(frame, right, load);
}

fn list(frame: &mut Frame, area: Rect, view: &View, chosen: usize) {
    // The chosen run is always among those listed.
    let first = (chosen + 1).saturating_sub(LISTED);
    let rows = view.runs.iter().enumerate().skip(first).take(LISTED).map(|(n, run)| {
        let mark = if n < CURVES { "●".fg(COLOURS[n]) } else { " ".into() };
        let percent =
            |name: Option<&str>| name.and_then(|name| run.last(name)).map_or("–".into(), |v| format!("{v:.2}"));
        let loss = run.beat.as_ref().and_then(|beat| beat.values.get("train_loss").copied());
        let loss = loss.or_else(|| run.last("train_loss"));
        let cells = [
            Line::from(mark),
            Line::from(run.label.clone()),
            Line::from(run.now.to_string()),
            Line::from(epoch(run)),
            Line::from(bar(run)),
            Line::from(loss.map_or("–".into(), |loss| format!("{loss:.4}"))),
            Line::from(percent(Some("natural"))),
            Line::from(percent(run.robust())),
            Line::from(run.left().unwrap_or_default()),
        ];
        let row = Row::new(cells);
        let row = if run.busy() { row } else { row.dim() };
        if n == chosen { row.reversed() } else { row }
    });
    let widths = [1, 24, 10, 9, 10, 8, 7, 7, 12].map(Constraint::Length);
    let head = Row::new(["", "run", "", "epoch", "", "loss", "natural", "robust", "left"]).bold();
    frame.render_widget(Table::new(rows, widths).header(head).block(Block::bordered().title("runs")), area);
}

fn epoch(run: &Watched) -> String {
    let now = run.beat.as_ref().map_or(run.done(), |beat| beat.epoch);
    format!("{now}/{}", run.epochs)
}

/// The current attack or epoch, in ten characters.
fn bar(run: &Watched) -> String {
    let share = |done: u64, all: u64| {
        let full = (done * 10).checked_div(all).unwrap_or(0).min(10) as usize;
        "━".repeat(full) + &"┄".repeat(10 - full)
    };
    match (run.attack(), &run.beat) {
        (Some(attack), _) => share(attack.done, attack.images),
        (None, Some(beat)) if beat.measuring => "measuring".into(),
        (None, Some(beat)) => share(beat.step, beat.steps),
        (None, None) => String::new(),
    }
}

fn chart(frame: &mut Frame, area: Rect, view: &View, name: &str, curve: &dyn Fn(&Watched) -> Vec<(f64, f64)>) {
    let curves: Vec<Vec<(f64, f64)>> = view.runs.iter().take(CURVES).map(curve).collect();
    let points = || curves.iter().flatten();
    let low = points().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = points().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let block = Block::bordered().title(format!("{name}, percent"));
    if low > high {
        let waiting = Paragraph::new("no epoch is measured yet").dim().block(block);
        frame.render_widget(waiting, area);
        return;
    }
    let (low, high) = if high - low < 1.0 { (low - 0.5, high + 0.5) } else { (low, high) };
    let last = points().map(|(epoch, _)| *epoch).fold(1.0, f64::max).max(2.0);
    let sets = curves.iter().zip(COLOURS).map(|(points, colour)| {
        let kind = if points.len() > 1 { GraphType::Line } else { GraphType::Scatter };
        Dataset::default().marker(Marker::Braille).graph_type(kind).style(Style::new().fg(colour)).data(points)
    });
    let label = |value: f64| Span::from(format!("{value:.1}"));
    let x = Axis::default().bounds([1.0, last]).labels([Span::from("1"), Span::from(format!("{last}"))]);
    let y = Axis::default().bounds([low, high]).labels([label(low), label((low + high) / 2.0), label(high)]);
    let chart = Chart::new(sets.collect()).block(block).x_axis(x).y_axis(y).legend_position(None);
    frame.render_widget(chart, area);
}

/// The chosen run: the current attack, and the training metrics.
fn detail(frame: &mut Frame, area: Rect, run: &Watched) {
    let block = Block::bordered().title(run.label.clone());
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let lines = run.attack().map(|attack| {
        let title = format!("attack {} of {}: {}", attack.number, attack.of, attack.title());
        let far = format!("{} of {} images, accuracy {:.2} %", attack.done, attack.images, attack.accuracy);
        [Line::from(title.bold()), Line::from(far)]
    });
    let rows = [Constraint::Length(if lines.is_some() { 2 } else { 0 }), Constraint::Min(0)];
    let [attack, rest] = Layout::vertical(rows).areas(inside);
    frame.render_widget(Paragraph::new(lines.map_or(Vec::new(), Vec::from)), attack);
    means(frame, rest, run);
}

fn means(frame: &mut Frame, area: Rect, run: &Watched) {
    let number = |value: Option<f64>| value.map_or("–".to_string(), |value| format!("{value:.4}"));
    let rows = run.means().into_iter().map(|(name, now, last)| Row::new([name, number(now), number(last)]));
    let head = Row::new(["training", "now", "last epoch"]).bold();
    let widths = [Constraint::Fill(1), Constraint::Length(10), Constraint::Length(10)];
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn machine(frame: &mut Frame, area: Rect, load: &Load) {
    let gigabytes = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let memory = |used: u64, total: u64| format!("{:.1} of {:.1} GiB", gigabytes(used), gigabytes(total));
    let mut lines = vec![
        Line::from(format!("CPU     {:>3.0} % of {} cores", load.cpu, load.cores)),
        Line::from(format!("memory  {}", memory(load.memory, load.memory_total))),
    ];
    for gpu in &load.gpus {
        lines.push(Line::from(format!(
            "GPU     {:>3.0} %, {}  {}",
            gpu.busy,
            memory(gpu.memory, gpu.memory_total),
            gpu.name
        )));
    }
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("machine")), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::{Gpu, Now};
    use foil_runs::eval::{HeartbeatFile, UnderWay};
    use foil_runs::train::{Beat, Folder, Lock};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::path::Path;

    /// A run folder as training leaves it, two of three epochs done; held by a process if it is to
    /// be under way.
    fn run(root: &Path, name: &str, natural: [f64; 2], under_way: bool) -> Option<Lock> {
        let (folder, lock) = Folder::create(&root.join(name)).unwrap();
        std::fs::write(folder.resolved(), format!("name: {name}\nseed: 0\ntrain: {{ epochs: 3 }}\n")).unwrap();
        let row = |epoch: usize| {
            let natural = natural[epoch - 1];
            let robust = natural - 20.0;
            format!(
                r#"{{"epoch":{epoch},"step":{epoch}0,"train_loss":0.5,"lr":0.1,"natural":{natural},"pgd10":{robust}}}"#
            )
        };
        std::fs::write(folder.path().join("metrics.jsonl"), format!("{}\n{}\n", row(1), row(2))).unwrap();
        let beat = Beat {
            epoch: 3,
            epochs: 3,
            step: 6,
            steps: 10,
            values: [("train_loss".to_string(), 0.4321), ("train_robust".to_string(), 0.25)].into(),
            seconds_left: Some(65.0),
            ..Beat::default()
        };
        // The stopped run was killed, and left its heartbeat.
        std::fs::write(folder.path().join("heartbeat.json"), serde_json::to_vec(&beat).unwrap()).unwrap();
        under_way.then_some(lock)
    }

    #[test]
    fn the_page_of_a_fixed_folder() {
        let place = tempfile::tempdir().unwrap();
        let _lock = run(place.path(), "AT", [60.0, 80.0], true);
        run(place.path(), "TRADES", [70.0, 75.0], false);
        let mut view = View::new(vec![place.path().to_path_buf()]);
        view.refresh();
        let gpu = Gpu { name: "H100".into(), busy: 97.0, memory: 12 << 30, memory_total: 80 << 30 };
        let load = Load { cpu: 50.0, cores: 2, memory: 3 << 30, memory_total: 8 << 30, gpus: vec![gpu] };
        let mut terminal = Terminal::new(TestBackend::new(100, 27)).unwrap();
        terminal.draw(|frame| draw(frame, &view, &load, 0)).unwrap();
        // Each line of the screen is shown in quotes.
        let lines = terminal.backend().to_string();
        let lines = lines.lines().map(|line| line.trim_matches('"').trim_end().to_string() + "\n");
        let shown: String = lines.collect();
        let expected = include_str!("page.txt");
        assert_eq!(shown, expected, "\n{shown}");
        assert_eq!(
            view.runs[0].line(),
            "AT: training, epoch 3 of 3, step 6 of 10, loss 0.4321, natural 80.00, pgd10 60.00, 1 min 05 s left"
        );
        assert_eq!(view.runs[1].line(), "TRADES: stopped, 2 of 3 epochs, loss 0.5000, natural 75.00, pgd10 55.00");
    }

    /// While an epoch is measured, and while `foil eval` runs, the attack is on the page and in the
    /// line.
    #[test]
    fn the_attack_under_way() {
        let place = tempfile::tempdir().unwrap();
        let _lock = run(place.path(), "AT", [60.0, 80.0], true);
        let path = place.path().join("AT");
        let attack =
            UnderWay { attack: "pgd10".into(), number: 2, of: 2, done: 320, images: 640, ..UnderWay::default() };
        let beat = Beat { epoch: 3, epochs: 3, measuring: true, under_way: Some(attack.clone()), ..Beat::default() };
        std::fs::write(path.join("heartbeat.json"), serde_json::to_vec(&beat).unwrap()).unwrap();
        run(place.path(), "TRADES", [70.0, 75.0], false);
        let mut beating = HeartbeatFile::new(&place.path().join("TRADES"), "cpu".into());
        beating.say(UnderWay {
            attack: "aa".into(),
            number: 1,
            of: 3,
            stage: Some("square".into()),
            accuracy: 51.25,
            ..attack
        });
        let mut view = View::new(vec![place.path().to_path_buf()]);
        view.refresh();
        let mut shown = Vec::new();
        for chosen in [0, 1] {
            let mut terminal = Terminal::new(TestBackend::new(100, 27)).unwrap();
            terminal.draw(|frame| draw(frame, &view, &Load::default(), chosen)).unwrap();
            shown.push(terminal.backend().to_string());
        }
        assert!(
            shown[0].contains("│attack 2 of 2: pgd10  ") && shown[0].contains("│320 of 640 images, accuracy 0.00 %"),
            "{}",
            shown[0]
        );
        assert!(
            shown[1].contains("│attack 1 of 3: aa square  ") && shown[1].contains("accuracy 51.25 %"),
            "{}",
            shown[1]
        );
        assert_eq!(shown[0].matches("━━━━━┄┄┄┄┄").count(), 2, "{}", shown[0]);
        let lines: Vec<String> = view.runs.iter().map(Watched::line).collect();
        assert!(
            lines[0].starts_with("AT: training, measuring epoch 3 of 3, attack 2 of 2: pgd10, 320 of 640 images, "),
            "{lines:?}"
        );
        let second =
            "TRADES: evaluating, 2 of 3 epochs, attack 1 of 3: aa square, 320 of 640 images, accuracy 51.25 %, ";
        assert!(lines[1].starts_with(second), "{lines:?}");
        // When it ends, its progress is removed.
        drop(beating);
        view.refresh();
        assert!(view.runs.iter().any(|run| run.now == Now::Stopped && run.attack().is_none()));
    }

    #[test]
    fn nothing_and_little_room_are_drawn_too() {
        let mut view = View::new(vec![]);
        view.refresh();
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &view, &Load::default(), 3)).unwrap();
        }
    }
}
