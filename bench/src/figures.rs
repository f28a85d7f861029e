//! Rounds and what they say: medians, spans, ratios. Whole numbers throughout.
//!
//! Invariant: a ratio is one of two figures of the same round; the ratio of a row is the median of
//! those, never the ratio of two medians of different minutes.

use std::time::Duration;

use crate::Effort;

/// What one round of one contender gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figure {
    /// Decisions per second.
    pub(crate) per_second: u64,
    /// Half of the callers waited at most so long, in microseconds.
    pub(crate) p50: u64,
    /// 99 of 100 did.
    pub(crate) p99: u64,
    /// All did.
    pub(crate) longest: u64,
}

impl Figure {
    /// Of so many decisions in so long, with these waits in microseconds.
    pub(crate) fn of(decisions: usize, took: Duration, waits: &mut [u64]) -> Self {
        waits.sort_unstable();
        let at = |percent: usize| {
            let place = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
            waits.get(place).copied().unwrap_or_default()
        };
        let decisions = u128::try_from(decisions).expect("it fits");
        let per_second = decisions * 1_000_000 / took.as_micros().max(1);
        Self {
            per_second: u64::try_from(per_second).expect("it fits"),
            p50: at(50),
            p99: at(99),
            longest: waits.last().copied().unwrap_or_default(),
        }
    }
}

/// One of those who are measured in turn.
pub(crate) trait Contender {
    /// What it is, in a row of a table.
    fn name(&self) -> String;
    /// Works for so long.
    fn round(&mut self, span: Duration) -> Figure;
    /// Works against limits that bind; gives what was admitted beyond them. `None`: not asked.
    fn excess(&mut self) -> Option<i64>;
    /// How many calls were told that others came first too often, and to ask again.
    fn contended(&self) -> i64 {
        0
    }
}

/// What a contender gave in all rounds.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) excess: Option<i64>,
    pub(crate) contended: i64,
}

/// Those who did the same work in turn. The first is who the others are compared with.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

impl Contest {
    /// Runs the contenders in turn.
    pub(crate) fn run(
        title: &str,
        mut contenders: Vec<Box<dyn Contender>>,
        effort: &Effort,
    ) -> Self {
        contenders.retain(|contender| {
            let name = format!("{title}: {}", contender.name());
            effort.like.iter().all(|part| name.contains(part))
        });
        let mut rows: Vec<Row> = contenders
            .iter()
            .map(|contender| Row {
                name: contender.name(),
                figures: Vec::new(),
                excess: None,
                contended: 0,
            })
            .collect();
        let warm = effort.round.min(Duration::from_secs(1));
        for (round, span) in std::iter::once(warm)
            .chain(std::iter::repeat_n(effort.round, effort.rounds))
            .enumerate()
        {
            for (contender, row) in contenders.iter_mut().zip(&mut rows) {
                std::thread::sleep(effort.rest);
                let figure = contender.round(span);
                let kept = if round == 0 { "warm-up" } else { "round" };
                eprintln!(
                    "{title}: {kept} {round}: {}: {}/s, p50 {} us, p99 {} us",
                    row.name, figure.per_second, figure.p50, figure.p99
                );
                if 0 < round {
                    row.figures.push(figure);
                }
            }
        }
        for (contender, row) in contenders.iter_mut().zip(&mut rows) {
            row.contended = contender.contended();
            row.excess = contender.excess();
            eprintln!("{title}: {}: admitted - limit = {:?}", row.name, row.excess);
        }
        Self { title: title.to_owned(), rows }
    }

    /// The ratios of a row to the first, round by round, in hundredths.
    pub(crate) fn ratios(&self, row: &Row) -> Vec<u64> {
        let first = self.rows.first().map(|first| first.figures.as_slice()).unwrap_or_default();
        let pairs = row.figures.iter().zip(first);
        pairs.map(|(own, base)| own.per_second * 100 / base.per_second.max(1)).collect()
    }
}

/// The least, the median and the greatest.
pub(crate) fn spread(mut values: Vec<u64>) -> (u64, u64, u64) {
    values.sort_unstable();
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)))
}

/// What was admitted beyond the limits: the sum of what was too much, or else what was left.
pub(crate) fn excess(of_each: impl IntoIterator<Item = i64>) -> i64 {
    let (mut over, mut sum) = (0, 0);
    for one in of_each {
        over += one.max(0);
        sum += one;
    }
    if 0 < over { over } else { sum }
}
