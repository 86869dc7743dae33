//! Fits a line of progress into the width of a terminal: a narrow one loses the least important part first.

/// What stands between two parts.
const SEPARATOR: &str = "  ";

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    text: String,
    importance: Importance,
    /// Columns that are reserved for the text.
    columns: usize,
}

/// Importance of a part, the least important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Details of the update, learning rate and norm of the gradients, and results of evaluation tasks.
    Detail,
    /// What other parts also tell, such as a bar beside numbers.
    Picture,
    /// How well the machine is used.
    Speed,
    /// Results that also have a line of their own, such as a validation loss.
    Result,
    /// Time that is left.
    Left,
    /// What the line is about.
    Subject,
    /// The position in the run.
    Position,
}

impl Part {
    /// Creates a part.
    pub fn new(importance: Importance, text: impl Into<String>) -> Self {
        let text = text.into();
        Part { columns: text.chars().count(), text, importance }
    }

    /// Reserves at least `columns`, so that a text whose length changes does not make other parts come and go.
    #[must_use]
    pub fn within(self, columns: usize) -> Self {
        Part { columns: self.columns.max(columns), ..self }
    }
}

/// Joins `parts` to a line of at most `width` columns. Where they do not fit, leaves out the least important ones, of equals the
/// last, but not the most important.
pub fn fitted(mut parts: Vec<Part>, width: usize) -> String {
    let columns = |parts: &[Part]| parts.iter().map(|part| part.columns + SEPARATOR.len()).sum::<usize>();
    while parts.len() > 1 && columns(&parts) - SEPARATOR.len() > width {
        let least = parts.iter().map(|part| part.importance).min();
        if let Some(last) = parts.iter().rposition(|part| Some(part.importance) == least) {
            parts.remove(last);
        }
    }
    let texts: Vec<&str> = parts.iter().map(|part| &*part.text).collect();
    texts.join(SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_loses_the_least_important_parts_in_turn() {
        let parts = || {
            vec![
                Part::new(Importance::Position, "1/8"),
                Part::new(Importance::Subject, "loss 6.1"),
                Part::new(Importance::Detail, "lr 1"),
                Part::new(Importance::Detail, "norm 2"),
                Part::new(Importance::Left, "left 9s"),
            ]
        };
        let whole = "1/8  loss 6.1  lr 1  norm 2  left 9s";
        for (width, expected) in [
            (usize::MAX, whole),
            (36, whole),
            (35, "1/8  loss 6.1  lr 1  left 9s"),
            (27, "1/8  loss 6.1  left 9s"),
            (21, "1/8  loss 6.1"),
            (12, "1/8"),
            (1, "1/8"),
        ] {
            assert_eq!(fitted(parts(), width), expected, "{width}");
        }
        assert_eq!(fitted(Vec::new(), 0), "");
    }

    #[test]
    fn parts_do_not_come_and_go_with_the_digits_of_others() {
        let line = |left: &str| {
            let left = Part::new(Importance::Left, left).within(11);
            fitted(vec![Part::new(Importance::Subject, "loss 6.1"), Part::new(Importance::Detail, "lr 1"), left], 25)
        };
        assert_eq!([line("left 9s"), line("left 24m46s")], ["loss 6.1  left 9s", "loss 6.1  left 24m46s"]);
    }
}
