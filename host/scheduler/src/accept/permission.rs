//! Checks the permissions of the owner of a job: its grant (I8), and the resources that it may hold.

use super::{
    fault::{Fault, Permission},
    terms::{Owner, Terms},
};
use crate::{
    model::{Step, hold_ms},
    names::{PluginName, ResourceName},
    outcome::Denied,
    topic::Excess,
    trigger::Duration,
};

/// Checks steps, and the resource that a job with these steps needs.
pub(super) fn check(steps: &[Step], needs: Option<&ResourceName>, terms: &Terms<'_>) -> Result<(), Fault> {
    let Some(owner) = &terms.owner else { return Ok(()) };
    for (index, step) in steps.iter().enumerate() {
        owner.may_send(step).map_err(|fault| fault.within_step(index))?;
    }
    needs.map_or(Ok(()), |name| owner.may_hold(name, hold_ms(steps)))
}

impl Owner<'_> {
    fn is_host(&self) -> bool {
        *self.plugin == PluginName::host()
    }

    fn may_send(&self, step: &Step) -> Result<(), Fault> {
        let owner = if self.is_host() { "the API".into() } else { format!("`{}`", self.plugin) };
        let message = &step.message;
        let (topic, qos) = (&message.topic, message.qos);
        let most = self.grant.max_qos as u8;
        match self.grant.excess(self.host_topic, topic.as_str(), qos, message.retain) {
            None => {}
            Some(Excess::HostTopic) => {
                let rule = format!(
                    "no job may publish there, because what is at or below `{}` is the host's own",
                    self.host_topic
                );
                let fault = Fault::new("topic", format!("`{topic}`"), rule);
                return Err(fault.lacks(Permission::HostTopic));
            }
            Some(Excess::Topic) => {
                let rule = format!("it is outside what {owner} may publish to");
                let fault = Fault::new("topic", format!("`{topic}`"), rule);
                return Err(fault.lacks(Permission::Publish(topic.clone())));
            }
            Some(Excess::Qos) => {
                let rule = format!("the grant of {owner} allows up to {most}, in the message to `{topic}`");
                return Err(Fault::new("qos", qos as u8, rule).lacks(Permission::Qos(qos)));
            }
            Some(Excess::Retain) => {
                let rule = format!("the grant of {owner} allows no retained messages, in the message to `{topic}`");
                return Err(Fault::new("retain", true, rule).lacks(Permission::Retain));
            }
        }
        match &step.confirm {
            Some(confirm) if !self.grant.allows_subscribe(confirm.topic.as_str()) => {
                let rule = format!("it is outside what {owner} may read");
                let fault = Fault::new("confirm.topic", format!("`{}`", confirm.topic), rule);
                Err(fault.lacks(Permission::Read(confirm.topic.clone())))
            }
            _ => Ok(()),
        }
    }

    fn may_hold(&self, name: &ResourceName, hold_ms: u32) -> Result<(), Fault> {
        let (jobs, holder) = match self.plugin.as_str() {
            _ if self.is_host() => ("a job made by hand".into(), "api"),
            plugin => (format!("a job of `{plugin}`"), plugin),
        };
        let rule = match self.resources.get(name).map(|resource| resource.denied(name, self.plugin, hold_ms)) {
            Some(None) => return Ok(()),
            None => format!("there is no resource `{name}`"),
            Some(Some(Denied::HoldTooLong { hold_ms, longest_ms, .. })) => {
                let (hold, longest) = (Duration(hold_ms.into()), Duration(longest_ms.into()));
                format!("its steps would hold `{name}` for {hold}, and a run may hold it for {longest}")
            }
            Some(Some(_)) => format!("{jobs} may not hold `{name}`: its `plugins` do not name `{holder}`"),
        };
        Err(Fault::new("policy.needs", "", rule).lacks(Permission::Resource(name.clone(), hold_ms)))
    }
}
