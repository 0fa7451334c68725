(component
  (type $log-interface (instance
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (export "write" (func (param "level" $level) (param "line" string)))))
  (import "roost:device/log@1.0.0" (instance $log (type $log-interface)))

  (component $schedule
    (alias outer 1 $log-interface (type $log-interface))
    (import "log" (instance $log (type $log-interface)))
    (type $location' (record (field "latitude" f64) (field "longitude" f64)))
    (export $location "location" (type $location'))
    (type $context' (record
      (field "plugin" string) (field "device" string) (field "config" string) (field "time-zone" string)
      (field "location" (option $location)) (field "now" s64) (field "until" s64)))
    (export $context "context" (type $context'))
    (type $date' (record (field "year" u16) (field "month" u8) (field "day" u8)))
    (export $date "date" (type $date'))
    (type $time' (record (field "hour" u8) (field "minute" u8) (field "second" u8)))
    (export $time "time" (type $time'))
    (type $sun-event' (variant
      (case "sunrise") (case "sunset") (case "civil-dawn") (case "civil-dusk") (case "nautical-dawn")
      (case "nautical-dusk") (case "astronomical-dawn") (case "astronomical-dusk") (case "solar-noon")
      (case "solar-midnight") (case "rising" f64) (case "setting" f64)))
    (export $sun-event "sun-event" (type $sun-event'))
    (type $message-properties' (record
      (field "expiry-ms" (option u32)) (field "content-type" (option string)) (field "response-topic" (option string))
      (field "user" (option (list (tuple string string))))))
    (export $message-properties "message-properties" (type $message-properties'))
    (type $message' (record
      (field "topic" string) (field "payload" (list u8)) (field "qos" u8) (field "retain" bool)
      (field "properties" (option $message-properties))))
    (export $message "message" (type $message'))
    (type $json-value' (record (field "pointer" string) (field "value" string)))
    (export $json-value "json-value" (type $json-value'))
    (type $json-range' (record (field "pointer" string) (field "min" f64) (field "max" f64)))
    (export $json-range "json-range" (type $json-range'))
    (type $matches' (variant
      (case "any") (case "bytes" (list u8)) (case "json" $json-value) (case "json-range" $json-range)))
    (export $matches "matches" (type $matches'))
    (type $confirm' (record
      (field "topic" string) (field "matches" $matches) (field "within-ms" u32) (field "already" bool)))
    (export $confirm "confirm" (type $confirm'))
    (type $step' (record
      (field "after-ms" u32) (field "message" $message) (field "once" bool) (field "confirm" (option $confirm))))
    (export $step "step" (type $step'))
    (type $task' (record (field "name" string) (field "args" string)))
    (export $task "task" (type $task'))
    (type $every' (record (field "period-ms" u32) (field "anchor" (option s64))))
    (export $every "every" (type $every'))
    (type $weekday' (enum "monday" "tuesday" "wednesday" "thursday" "friday" "saturday" "sunday"))
    (export $weekday "weekday" (type $weekday'))
    (type $day-of-year' (record (field "month" u8) (field "day" u8)))
    (export $day-of-year "day-of-year" (type $day-of-year'))
    (type $day-range' (variant
      (case "weekdays" (tuple $weekday $weekday)) (case "days-of-month" (tuple u8 u8))
      (case "season" (tuple $day-of-year $day-of-year)) (case "dates" (tuple $date $date)) (case "calendar" string)))
    (export $day-range "day-range" (type $day-range'))
    (type $interval-unit' (enum "days" "weeks"))
    (export $interval-unit "interval-unit" (type $interval-unit'))
    (type $interval' (record (field "count" u16) (field "unit" $interval-unit) (field "from" $date)))
    (export $interval "interval" (type $interval'))
    (type $days' (record
      (field "on" (list $day-range)) (field "within" (list $day-range)) (field "every" (option $interval))
      (field "except" (list $day-range))))
    (export $days "days" (type $days'))
    (type $cron' (record
      (field "expression" string) (field "time-zone" (option string)) (field "days" (option $days))
      (field "finish" bool)))
    (export $cron "cron" (type $cron'))
    (type $sun' (record
      (field "event" $sun-event) (field "offset-ms" s32) (field "not-before" (option $time))
      (field "not-after" (option $time)) (field "otherwise" (option $time)) (field "days" (option $days))
      (field "finish" bool)))
    (export $sun "sun" (type $sun'))
    (type $trigger' (variant (case "at" s64) (case "every" $every) (case "cron" $cron) (case "sun" $sun)
      (case "text" string)))
    (export $trigger "trigger" (type $trigger'))
    (type $action' (variant (case "steps" (list $step)) (case "task" $task)))
    (export $action "action" (type $action'))
    (type $misfire' (variant (case "run-once") (case "run-all") (case "latest-of-group" string)))
    (export $misfire "misfire" (type $misfire'))
    (type $overlap' (variant (case "skip") (case "queue" u32) (case "allow" u32) (case "replace")))
    (export $overlap "overlap" (type $overlap'))
    (type $retry' (record
      (field "attempts" (option u32)) (field "give-up-after-ms" (option u32)) (field "backoff-ms" (option u32))))
    (export $retry "retry" (type $retry'))
    (type $policy' (record
      (field "misfire" (option $misfire)) (field "grace-ms" (option u32)) (field "overlap" (option $overlap))
      (field "jitter-ms" (option u32)) (field "priority" (option s8)) (field "retry" (option $retry))
      (field "needs" (option string))))
    (export $policy "policy" (type $policy'))
    (type $job' (record
      (field "id" string) (field "label" (option string)) (field "trigger" $trigger) (field "action" $action)
      (field "policy" (option $policy))))
    (export $job "job" (type $job'))

    (core module $memory-module
      (memory (export "memory") 1)
      (data (i32.const 16) "no seeds")
      (global $free (mut i32) (i32.const 4096))
      (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
        (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get $size)))))
    (core instance $memory (instantiate $memory-module))
    (core func $log-write (canon lower (func $log "write") (memory (core memory $memory "memory"))))
    (core module $plan-module
      (import "host" "memory" (memory 1))
      (import "host" "log" (func $log (param i32 i32 i32)))
      (func $fails (unreachable))
      ITEMS
      (func $plan (export "plan")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 f64 f64 i64 i64) (result i32)
        BODY))
    (core instance $plan (instantiate $plan-module (with "host" (instance
      (export "memory" (memory $memory "memory"))
      (export "log" (func $log-write))))))
    (func (export "schedule-jobs") (param "ctx" $context) (result (result (list $job) (error string)))
      (canon lift (core func $plan "plan") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc")))))

  (instance $schedule (instantiate $schedule (with "log" (instance $log))))
  (export "roost:device/schedule@1.0.0" (instance $schedule))
  TASKS)
