;; Answers the first record under an id that nobody gave it, `nope`.
;; input-record, 72 bytes:   0 id ptr, 4 id len, 8 data ptr, 12 data len, 16 arrival, 24 kinesis
;; output-record, 28 bytes:  0 id ptr, 4 id len, 8 tag, 12 payload
(component
  (import "hydrant:transform/types@0.1.0" (instance $types
    (type $kinesis-metadata (record
      (field "shard-id" string)
      (field "partition-key" string)
      (field "sequence-number" string)
      (field "subsequence-number" u64)
      (field "approximate-arrival-timestamp" u64)))
    (export "kinesis-metadata" (type $kinesis-metadata' (eq $kinesis-metadata)))
    (type $input-record (record
      (field "record-id" string)
      (field "data" (list u8))
      (field "approximate-arrival-timestamp" u64)
      (field "kinesis" (option $kinesis-metadata'))))
    (export "input-record" (type (eq $input-record)))
    (type $transformed (record
      (field "data" (list u8))
      (field "partition-keys" (list (tuple string string)))))
    (export "transformed" (type $transformed' (eq $transformed)))
    (type $outcome (variant
      (case "ok" $transformed')
      (case "many" (list $transformed'))
      (case "dropped")
      (case "processing-failed" string)))
    (export "outcome" (type $outcome' (eq $outcome)))
    (type $output-record (record
      (field "record-id" string)
      (field "outcome" $outcome')))
    (export "output-record" (type (eq $output-record)))))
  (alias export $types "input-record" (type $input-record))
  (alias export $types "output-record" (type $output-record))

  (core module $code
    (memory (export "memory") 1)
    (data (i32.const 16) "nope")
    (global $top (mut i32) (i32.const 64))

    ;; Memory is handed out upwards and forgotten as a whole once the host has copied the answer out.
    (func $bump (param $n i32) (param $align i32) (result i32)
      (local $p i32) (local $more i32)
      (local.set $p (i32.and
        (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $top (i32.add (local.get $p) (local.get $n)))
      (local.set $more (i32.sub
        (i32.shr_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 16))
        (memory.size)))
      (if (i32.gt_s (local.get $more) (i32.const 0))
        (then (if (i32.eq (memory.grow (local.get $more)) (i32.const -1)) (then unreachable))))
      (local.get $p))
    (func (export "cabi_realloc") (param $old i32) (param $old_n i32) (param $align i32) (param $n i32) (result i32)
      (local $p i32)
      (local.set $p (call $bump (local.get $n) (local.get $align)))
      (memory.copy (local.get $p) (local.get $old) (local.get $old_n))
      (local.get $p))
    (func (export "cabi_post_transform") (param i32)
      (global.set $top (i32.const 64)))

    (func (export "transform") (param $in i32) (param $n i32) (result i32)
      (local $out i32) (local $first i32) (local $answer i32) (local $left i32)
      (local.set $first (call $bump (i32.mul (local.get $n) (i32.const 28)) (i32.const 4)))
      (local.set $answer (call $bump (i32.const 8) (i32.const 4)))
      (local.set $out (local.get $first))
      (local.set $left (local.get $n))
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        ;; ok, the id and the data where the host put them, no keys
        (i64.store align=4 (local.get $out) (i64.load align=4 (local.get $in)))
        (i32.store8 offset=8 (local.get $out) (i32.const 0))
        (i64.store offset=12 align=4 (local.get $out) (i64.load offset=8 align=4 (local.get $in)))
        (i64.store offset=20 align=4 (local.get $out) (i64.const 0))
        (local.set $in (i32.add (local.get $in) (i32.const 72)))
        (local.set $out (i32.add (local.get $out) (i32.const 28)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
      (i32.store (local.get $first) (i32.const 16))
      (i32.store offset=4 (local.get $first) (i32.const 4))
      (i32.store (local.get $answer) (local.get $first))
      (i32.store offset=4 (local.get $answer) (local.get $n))
      (local.get $answer)))

  (core instance $guest (instantiate $code))
  (func (export "transform") (param "records" (list $input-record)) (result (list $output-record))
    (canon lift (core func $guest "transform")
      (memory (core memory $guest "memory"))
      (realloc (core func $guest "cabi_realloc"))
      (post-return (core func $guest "cabi_post_transform")))))
