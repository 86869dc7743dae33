//! Tasks: what each reads, and how its items are asked and judged.
//!
//! `registry` lists them by name. Each other module reads the files of one data set. A name says which form of a data set a
//! task is, where there are several: there is no task called plain `lambada` or `hellaswag`.

mod childrens_books;
mod choice;
mod cut;
mod hellaswag;
mod hutter;
mod items;
mod lambada;
mod one_billion_word;
mod penn_treebank;
mod registry;
mod select;
mod text;
mod wikitext;
mod winograd_schema;
mod wsc273;
mod wsc_xml;

pub use choice::{ChoiceError, Chosen, choose};
pub use cut::Cut;
pub use items::{ItemsError, Selection};
pub use registry::{Source, TASKS, Task};
pub use select::{UnknownTask, find, select};
