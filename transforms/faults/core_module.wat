;; A core module, not a component: what a compiler writes before `wasm-tools component new` has made a component of it.
(module
  (memory (export "memory") 1)
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
    (i32.store (local.get $answer) (local.get $first))
    (i32.store offset=4 (local.get $answer) (local.get $n))
    (local.get $answer)))
