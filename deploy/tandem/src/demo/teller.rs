//! Tells what happens, step by step.

use std::cell::Cell as Counter;

use super::mailbox::Mail;
use crate::failure::Result;
use crate::output::{Output, Table};

/// The narrator; says nothing in JSON form.
#[derive(Debug)]
pub struct Teller {
    output: Output,
    step: Counter<u32>,
}

impl Teller {
    /// Starts before the first step.
    pub fn new(output: Output) -> Teller {
        Teller { output, step: Counter::new(0) }
    }

    /// A new part of the story.
    pub fn part(&self, what: &str) -> Result<()> {
        self.output.say(&format!("\n{}", self.output.style.bold(&format!("== {what} =="))))
    }

    /// A new step.
    pub fn step(&self, what: &str) -> Result<()> {
        self.step.set(self.step.get() + 1);
        let heading = format!("{}. {what}", self.step.get());
        self.output.say(&format!("\n{}", self.output.style.bold(&heading)))
    }

    /// What happened in it.
    pub fn tell(&self, what: &str) -> Result<()> {
        self.output.say(&format!("   {what}"))
    }

    /// A table that belongs to it.
    pub fn table(&self, table: &Table) -> Result<()> {
        let text = table.to_text(self.output.style);
        text.lines().try_for_each(|line| self.output.say(&format!("   {line}")))
    }

    /// One thing's values, which belong to it.
    pub fn record(&self, table: &Table) -> Result<()> {
        let text = table.to_record_text(self.output.style);
        text.lines().try_for_each(|line| self.output.say(&format!("   {line}")))
    }

    /// A mail that somebody got.
    pub fn mail(&self, mail: &Mail) -> Result<()> {
        let style = self.output.style;
        let rule = style.dim("   |");
        self.output.say(&format!("   {}", style.dim("mail")))?;
        for (name, value) in [("From", &mail.from), ("To", &mail.to), ("Subject", &mail.subject)] {
            self.output.say(&format!("{rule} {}", style.dim(&format!("{name}: ")) + value))?;
        }
        self.output.say(&rule)?;
        mail.body.lines().try_for_each(|line| self.output.say(format!("{rule} {line}").trim_end()))
    }

    /// How a proof came out.
    pub fn proof(&self, holds: bool, what: &str) -> Result<()> {
        let style = self.output.style;
        let mark = if holds { style.green("holds ") } else { style.red("BROKEN") };
        self.output.say(&format!("   {mark}  {what}"))
    }
}
