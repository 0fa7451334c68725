  (component $tasks
    (type $location' (record (field "latitude" f64) (field "longitude" f64)))
    (export $location "location" (type $location'))
    (type $context' (record
      (field "plugin" string) (field "device" string) (field "config" string) (field "time-zone" string)
      (field "location" (option $location)) (field "now" s64) (field "until" s64)))
    (export $context "context" (type $context'))
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
    (type $reply' (record (field "steps" (list $step)) (field "replan" bool) (field "note" (option string))))
    (export $reply "reply" (type $reply'))
    (type $task-description' (record
      (field "name" string) (field "summary" string) (field "args-schema" (option string))))
    (export $task-description "task-description" (type $task-description'))

    (core module $module
      (memory (export "memory") 1)
      ;; One task: its name, its summary, no schema.
      (data (i32.const 16) "water")
      (data (i32.const 32) "Water the porch")
      (data (i32.const 64) "\10\00\00\00\05\00\00\00\20\00\00\00\0f\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
      (data (i32.const 96) "\40\00\00\00\01\00\00\00")
      (global $free (mut i32) (i32.const 4096))
      (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
        (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get $size))))
      (func $list (export "list") (result i32)
        LIST)
      (func $run (export "run") (param i32) (result i32)
        RUN))
    (core instance $instance (instantiate $module))
    (func (export "list-tasks") (result (list $task-description))
      (canon lift (core func $instance "list") (memory (core memory $instance "memory"))))
    (func (export "run-task") (param "ctx" $context) (param "task" $task) (param "due" s64)
      (result (result $reply (error string)))
      (canon lift (core func $instance "run") (memory (core memory $instance "memory"))
        (realloc (core func $instance "realloc")))))

  (instance $tasks (instantiate $tasks))
  (export "roost:device/tasks@1.0.0" (instance $tasks))
