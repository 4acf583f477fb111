;; Does what the first byte of each record's data says; records are looked at in order.
;;
;;   P  traps                                  D  dropped
;;   L  loops for ever                         F  processing-failed("asked to fail")
;;   M  grows memory until refused, then traps 2  many: two copies with the keys k=a and k=b
;;   S  recurses until the stack ends          K  ok with the key k=<the data's second byte>, empty if there is none
;;   T  works for a while, then ok             anything else, or no data: ok, unchanged, no keys
;;
;; A second byte above 0x7f after K is a key that is not UTF-8, which the host's bindings refuse.
;;
;; input-record, 72 bytes:   0 id ptr, 4 id len, 8 data ptr, 12 data len, 16 arrival, 24 kinesis
;; output-record, 28 bytes:  0 id ptr, 4 id len, 8 tag, 12 payload
;;   tag 0 ok: 12 data ptr, 16 data len, 20 keys ptr, 24 keys len     tag 1 many: 12 list ptr, 16 list len
;;   tag 2 dropped                                                    tag 3 processing-failed: 12 text ptr, 16 text len
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
    ;; About 300 ms of one core with epoch interruption on; turn this to make T take longer or shorter.
    (global $busy_rounds i64 (i64.const 250_000_000))

    (memory (export "memory") 1)
    (data (i32.const 16) "asked to fail")
    (data (i32.const 32) "kab")
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

    (func $deeper (param $n i32) (result i32)
      ;; The addition after the call keeps the frame alive.
      (i32.add (call $deeper (i32.add (local.get $n) (i32.const 1))) (local.get $n)))

    (func $work (param $rounds i64) (result i64)
      (local $x i64)
      (loop $again
        (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (local.get $rounds)))
        (local.set $rounds (i64.sub (local.get $rounds) (i64.const 1)))
        (br_if $again (i64.ne (local.get $rounds) (i64.const 0))))
      (local.get $x))

    ;; Writes one `transformed`, 16 bytes, whose only key is k=<the text of this length at this address>.
    (func $keyed (param $at i32) (param $in i32) (param $value i32) (param $value_n i32)
      (local $key i32)
      (local.set $key (call $bump (i32.const 16) (i32.const 4)))
      (i32.store (local.get $key) (i32.const 32))
      (i32.store offset=4 (local.get $key) (i32.const 1))
      (i32.store offset=8 (local.get $key) (local.get $value))
      (i32.store offset=12 (local.get $key) (local.get $value_n))
      (i64.store align=4 (local.get $at) (i64.load offset=8 align=4 (local.get $in)))
      (i32.store offset=8 (local.get $at) (local.get $key))
      (i32.store offset=12 (local.get $at) (i32.const 1)))

    (func $one (param $in i32) (param $out i32)
      (local $data i32) (local $data_n i32) (local $first i32) (local $copies i32)
      (local.set $data (i32.load offset=8 (local.get $in)))
      (local.set $data_n (i32.load offset=12 (local.get $in)))
      (if (local.get $data_n) (then (local.set $first (i32.load8_u (local.get $data)))))

      ;; ok, the id and the data where the host put them, no keys
      (i64.store align=4 (local.get $out) (i64.load align=4 (local.get $in)))
      (i32.store8 offset=8 (local.get $out) (i32.const 0))
      (i64.store offset=12 align=4 (local.get $out) (i64.load offset=8 align=4 (local.get $in)))
      (i64.store offset=20 align=4 (local.get $out) (i64.const 0))

      (if (i32.eq (local.get $first) (i32.const 0x50)) ;; P
        (then unreachable))
      (if (i32.eq (local.get $first) (i32.const 0x4c)) ;; L
        (then (loop $ever (br $ever))))
      (if (i32.eq (local.get $first) (i32.const 0x4d)) ;; M
        (then
          (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
          unreachable))
      (if (i32.eq (local.get $first) (i32.const 0x53)) ;; S
        (then (drop (call $deeper (i32.const 1)))))
      (if (i32.eq (local.get $first) (i32.const 0x54)) ;; T
        (then (drop (call $work (global.get $busy_rounds)))))
      (if (i32.eq (local.get $first) (i32.const 0x44)) ;; D
        (then (i32.store8 offset=8 (local.get $out) (i32.const 2))))
      (if (i32.eq (local.get $first) (i32.const 0x46)) ;; F
        (then
          (i32.store8 offset=8 (local.get $out) (i32.const 3))
          (i32.store offset=12 (local.get $out) (i32.const 16))
          (i32.store offset=16 (local.get $out) (i32.const 13))))
      (if (i32.eq (local.get $first) (i32.const 0x32)) ;; 2
        (then
          (local.set $copies (call $bump (i32.const 32) (i32.const 4)))
          (call $keyed (local.get $copies) (local.get $in) (i32.const 33) (i32.const 1))
          (call $keyed (i32.add (local.get $copies) (i32.const 16)) (local.get $in) (i32.const 34) (i32.const 1))
          (i32.store8 offset=8 (local.get $out) (i32.const 1))
          (i32.store offset=12 (local.get $out) (local.get $copies))
          (i32.store offset=16 (local.get $out) (i32.const 2))))
      (if (i32.eq (local.get $first) (i32.const 0x4b)) ;; K
        (then
          (call $keyed (i32.add (local.get $out) (i32.const 12)) (local.get $in)
            (i32.add (local.get $data) (i32.const 1))
            (i32.gt_u (local.get $data_n) (i32.const 1))))))

    (func (export "transform") (param $in i32) (param $n i32) (result i32)
      (local $out i32) (local $answer i32)
      (local.set $out (call $bump (i32.mul (local.get $n) (i32.const 28)) (i32.const 4)))
      (local.set $answer (call $bump (i32.const 8) (i32.const 4)))
      (i32.store (local.get $answer) (local.get $out))
      (i32.store offset=4 (local.get $answer) (local.get $n))
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (call $one (local.get $in) (local.get $out))
        (local.set $in (i32.add (local.get $in) (i32.const 72)))
        (local.set $out (i32.add (local.get $out) (i32.const 28)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
      (local.get $answer)))

  (core instance $guest (instantiate $code))
  (func (export "transform") (param "records" (list $input-record)) (result (list $output-record))
    (canon lift (core func $guest "transform")
      (memory (core memory $guest "memory"))
      (realloc (core func $guest "cabi_realloc"))
      (post-return (core func $guest "cabi_post_transform")))))
