//! The conversion of the contract's bindings into drafts. Two generators make these bindings, one for the host and one
//! for plugins, with the same names; so their conversion is a macro.

/// Implements `From` of the contract's bindings, in a module with all their types, for the drafts.
#[macro_export]
macro_rules! drafts_from_bindings {
    ($wit:ident) => {
        const _: () = {
            use $crate::{
                accept::draft,
                model::{Matches, Misfire, Overlap},
                trigger::{SunEvent, Unit},
            };

            impl From<$wit::Job> for draft::JobDraft {
                fn from($wit::Job { id, label, trigger, action, policy }: $wit::Job) -> Self {
                    let policy = policy.map(Into::into).unwrap_or_default();
                    Self { id, label, trigger: trigger.into(), action: action.into(), policy }
                }
            }

            impl From<$wit::Trigger> for draft::TriggerDraft {
                fn from(trigger: $wit::Trigger) -> Self {
                    match trigger {
                        $wit::Trigger::At(at) => Self::At(at),
                        $wit::Trigger::Every($wit::Every { period_ms, anchor }) => Self::Every { period_ms, anchor },
                        $wit::Trigger::Cron($wit::Cron { expression, time_zone, days, finish }) => {
                            let days = days.map(Into::into).unwrap_or_default();
                            Self::Cron { expression, time_zone, days, finish }
                        }
                        $wit::Trigger::Sun(sun) => Self::Sun(sun.into()),
                        $wit::Trigger::Text(text) => Self::Text(text),
                    }
                }
            }

            impl From<$wit::Sun> for draft::SunDraft {
                fn from(sun: $wit::Sun) -> Self {
                    let $wit::Sun { event, offset_ms, not_before, not_after, otherwise, days, finish } = sun;
                    let [not_before, not_after, otherwise] =
                        [not_before, not_after, otherwise].map(|time| time.map(Into::into));
                    let days = days.map(Into::into).unwrap_or_default();
                    Self { event: event.into(), offset_ms, not_before, not_after, otherwise, days, finish }
                }
            }

            impl From<$wit::Days> for draft::DaysDraft {
                fn from($wit::Days { on, within, every, except }: $wit::Days) -> Self {
                    let ranges = |ranges: Vec<$wit::DayRange>| ranges.into_iter().map(Into::into).collect();
                    let every = every.map(|$wit::Interval { count, unit, from }| draft::IntervalDraft {
                        count,
                        unit: match unit {
                            $wit::IntervalUnit::Days => Unit::Days,
                            $wit::IntervalUnit::Weeks => Unit::Weeks,
                        },
                        from: from.into(),
                    });
                    Self { on: ranges(on), within: ranges(within), every, except: ranges(except) }
                }
            }

            impl From<$wit::Time> for draft::TimeDraft {
                fn from($wit::Time { hour, minute, second }: $wit::Time) -> Self {
                    Self(hour, minute, second)
                }
            }

            impl From<$wit::DayRange> for draft::DayRangeDraft {
                fn from(range: $wit::DayRange) -> Self {
                    // Monday is the first one.
                    let day = |day: $wit::Weekday| day as u8;
                    let of_year = |$wit::DayOfYear { month, day }: $wit::DayOfYear| (month, day);
                    match range {
                        $wit::DayRange::Weekdays((from, to)) => Self::Weekdays(day(from), day(to)),
                        $wit::DayRange::DaysOfMonth((from, to)) => Self::OfMonth(from, to),
                        $wit::DayRange::Season((from, to)) => Self::Season(of_year(from), of_year(to)),
                        $wit::DayRange::Dates((from, to)) => Self::Dates(from.into(), to.into()),
                        $wit::DayRange::Calendar(name) => Self::Calendar(name),
                    }
                }
            }

            impl From<$wit::Date> for draft::DateDraft {
                fn from($wit::Date { year, month, day }: $wit::Date) -> Self {
                    Self(year, month, day)
                }
            }

            impl From<$wit::SunEvent> for draft::SunEventDraft {
                fn from(event: $wit::SunEvent) -> Self {
                    Self::Named(match event {
                        $wit::SunEvent::Sunrise => SunEvent::Sunrise,
                        $wit::SunEvent::Sunset => SunEvent::Sunset,
                        $wit::SunEvent::CivilDawn => SunEvent::CivilDawn,
                        $wit::SunEvent::CivilDusk => SunEvent::CivilDusk,
                        $wit::SunEvent::NauticalDawn => SunEvent::NauticalDawn,
                        $wit::SunEvent::NauticalDusk => SunEvent::NauticalDusk,
                        $wit::SunEvent::AstronomicalDawn => SunEvent::AstronomicalDawn,
                        $wit::SunEvent::AstronomicalDusk => SunEvent::AstronomicalDusk,
                        $wit::SunEvent::SolarNoon => SunEvent::SolarNoon,
                        $wit::SunEvent::SolarMidnight => SunEvent::SolarMidnight,
                        $wit::SunEvent::Rising(degrees) => return Self::Rising(degrees),
                        $wit::SunEvent::Setting(degrees) => return Self::Setting(degrees),
                    })
                }
            }

            impl From<$wit::Action> for draft::ActionDraft {
                fn from(action: $wit::Action) -> Self {
                    match action {
                        $wit::Action::Steps(steps) => Self::Steps(steps.into_iter().map(Into::into).collect()),
                        $wit::Action::Task(task) => Self::Task(task.into()),
                    }
                }
            }

            impl From<$wit::Step> for draft::StepDraft {
                fn from($wit::Step { after_ms, message, once, confirm }: $wit::Step) -> Self {
                    let $wit::Message { topic, payload, qos, retain, properties } = message;
                    let (properties, confirm) = (properties.map(Into::into), confirm.map(Into::into));
                    Self { after_ms, topic, payload: payload.into(), qos, retain, properties, once, confirm }
                }
            }

            impl From<$wit::MessageProperties> for draft::PropertiesDraft {
                fn from(properties: $wit::MessageProperties) -> Self {
                    let $wit::MessageProperties { expiry_ms, content_type, response_topic, user } = properties;
                    Self { expiry_ms, content_type, response_topic, user: user.unwrap_or_default() }
                }
            }

            impl From<$wit::Confirm> for draft::ConfirmDraft {
                fn from($wit::Confirm { topic, matches, within_ms, already }: $wit::Confirm) -> Self {
                    let matches = match matches {
                        $wit::Matches::Any => Matches::Any,
                        $wit::Matches::Bytes(bytes) => Matches::Bytes(bytes.into()),
                        $wit::Matches::Json($wit::JsonValue { pointer, value }) => Matches::Json { pointer, value },
                        $wit::Matches::JsonRange($wit::JsonRange { pointer, min, max }) => {
                            Matches::JsonRange { pointer, min, max }
                        }
                    };
                    Self { topic, matches, within_ms, already }
                }
            }

            impl From<$wit::Policy> for draft::PolicyDraft {
                fn from(policy: $wit::Policy) -> Self {
                    let $wit::Policy { misfire, grace_ms, overlap, jitter_ms, priority, retry, needs } = policy;
                    let misfire = match misfire {
                        None | Some($wit::Misfire::RunOnce) => Misfire::RunOnce,
                        Some($wit::Misfire::RunAll) => Misfire::RunAll,
                        Some($wit::Misfire::LatestOfGroup(name)) => Misfire::LatestOfGroup(name),
                    };
                    let overlap = match overlap {
                        None | Some($wit::Overlap::Skip) => Overlap::Skip,
                        Some($wit::Overlap::Queue(runs)) => Overlap::Queue(runs),
                        Some($wit::Overlap::Allow(runs)) => Overlap::Allow(runs),
                        Some($wit::Overlap::Replace) => Overlap::Replace,
                    };
                    let no_retry = $wit::Retry { attempts: None, give_up_after_ms: None, backoff_ms: None };
                    let $wit::Retry { attempts, give_up_after_ms, backoff_ms } = retry.unwrap_or(no_retry);
                    Self {
                        misfire,
                        grace_ms,
                        overlap,
                        jitter_ms,
                        priority,
                        attempts,
                        give_up_after_ms,
                        backoff_ms,
                        needs,
                    }
                }
            }

            impl From<$wit::Task> for draft::TaskDraft {
                fn from($wit::Task { name, args }: $wit::Task) -> Self {
                    Self { name, args }
                }
            }

            impl From<$wit::Reply> for draft::ReplyDraft {
                fn from($wit::Reply { steps, replan, note }: $wit::Reply) -> Self {
                    Self { steps: steps.into_iter().map(Into::into).collect(), replan, note }
                }
            }

            impl From<$wit::TaskDescription> for draft::TaskDescriptionDraft {
                fn from($wit::TaskDescription { name, summary, args_schema }: $wit::TaskDescription) -> Self {
                    Self { name, summary, args_schema }
                }
            }
        };
    };
}
