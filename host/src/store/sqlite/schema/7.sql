-- In JSON, bytes that are not text are in base64. `base64_payloads` is a function of Roost.
UPDATE jobs SET steps = base64_payloads(steps) WHERE steps GLOB '*"payload_hex":*' OR steps GLOB '*{"hex":*';
UPDATE runs SET steps = base64_payloads(steps) WHERE steps GLOB '*"payload_hex":*' OR steps GLOB '*{"hex":*';
