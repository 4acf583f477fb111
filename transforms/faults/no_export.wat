;; A component of the right contract that forgets to export `transform`.
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
  (alias export $types "output-record" (type $output-record)))
