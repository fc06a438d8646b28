//! `anygpu quantize --mix 30tps`: what the planner says of a choice of types.

use std::collections::BTreeMap;

use anyhow::bail;

use super::args::DeviceArgs;
use super::plan::{self, MachineArgs, Setting, Target};
use super::subject::Subject;
use crate::base::{DType, KvType};
use crate::convert::mix::{LADDER, Ladders};
use crate::convert::{Plan, Source};
use crate::engine::model::DEFAULT_CONTEXT;
use crate::plan::choose::figure;
use crate::plan::table::{Request, table};

/// A model on a machine, and how fast it shall be there.
pub(super) struct Speed {
    subject: Subject,
    target: Target,
    setting: Setting,
    wanted_tok_s: f64,
}

impl Speed {
    /// `machine`: described, saved, or this one, measured as far as it was not yet.
    pub(super) fn of(
        model: &str,
        machine: &MachineArgs,
        device: &DeviceArgs,
        wanted_tok_s: f64,
    ) -> anyhow::Result<Speed> {
        let subject = Subject::of(model)?;
        let context = subject.spec().max_context.min(DEFAULT_CONTEXT);
        // As stored is a choice, too.
        let quants = std::iter::once(None).chain(LADDER.map(Some)).collect();
        let prompt = plan::default_prompt(context);
        let setting = Setting { quants, batches: vec![1], context, prompt, kv: KvType::F16, chunk: None };
        let gpu = machine.gpu(device)?;
        let target = plan::machine(machine, None, gpu.as_ref(), &subject, &setting)?;
        Ok(Speed { subject, target, setting, wanted_tok_s })
    }

    /// Gives every matrix its type: those of least noise that are fast enough. Returns what is expected, for people.
    pub(super) fn choose(&self, plan: &mut Plan, ladders: &Ladders) -> anyhow::Result<String> {
        let mut fastest: f64 = 0.0;
        let found = ladders.choose_fast(plan, &mut |plan| {
            let tok_s = self.tok_s(plan)?;
            fastest = fastest.max(tok_s);
            Ok::<bool, anyhow::Error>(tok_s >= self.wanted_tok_s)
        })?;
        let machine = self.target.machine.name();
        if !found {
            bail!(
                "--mix: {} tokens per second cannot be had on {machine}: the most is {}",
                figure(self.wanted_tok_s),
                figure(fastest)
            );
        }
        let (tok_s, position) = (figure(self.tok_s(plan)?), self.setting.prompt);
        Ok(format!("{tok_s} tok/s predicted on {machine}, {position} tokens into a text"))
    }

    /// Predicted tokens per second of the file to come.
    fn tok_s(&self, plan: &Plan) -> anyhow::Result<f64> {
        let stored = |output: &crate::convert::Output| match &output.source {
            Source::Stored(name) => Some((name.clone(), output.to)),
            Source::Constant(_) => None,
        };
        let types: BTreeMap<String, DType> = plan.outputs.iter().filter_map(stored).collect();
        let request = Request {
            spec: self.subject.spec(),
            stored: &|name| types.get(name).copied().unwrap_or(DType::F16),
            quants: vec![None],
            batches: self.setting.batches.clone(),
            context: self.setting.context,
            prompt: self.setting.prompt,
            chunk: self.target.chunk,
            kv: self.setting.kv,
            budget: self.target.budget.clone(),
            price_per_hour: None,
            history: self.target.history.as_ref(),
        };
        Ok(table(&self.target.machine, &request)?.cells[0].decode_tok_s)
    }
}
