//! The budget of a step (I10).

use crate::{
    limits,
    mutants::{Mutation, mutated},
};

/// How much work is left to one part of a step: its timers, its work on plans, and the runs it starts to send have
/// one each, so that none of them waits for another.
#[derive(Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    pub(crate) const fn of_step() -> Self {
        Self(limits::BUDGET_OF_STEP)
    }

    /// Spends what a piece of work costs. Returns false if nothing is left, and the piece waits for the next step.
    pub(crate) fn spend(&mut self, cost: u32) -> bool {
        let is_left = self.0 > 0 || mutated(Mutation::BudgetIsNeverSpent);
        self.0 = self.0.saturating_sub(cost);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_lasts_for_its_pieces_and_every_piece_gets_done() {
        let pieces = |cost| {
            let mut budget = Budget::of_step();
            (0..).take_while(|_| budget.spend(cost)).count()
        };
        assert_eq!(pieces(1), limits::BUDGET_OF_STEP as usize);
        assert_eq!(pieces(limits::JOB_COST), 250);
        assert_eq!(pieces(u32::MAX), 1);
    }
}
