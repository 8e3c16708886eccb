"""
What a session is configured to be; knows no livekit.

A tour, in the order in which things happen. From a folder to what jobs read, in the worker's parent:

    folder, parts, compose  the files; each one read once; a bundle laid over what it includes
    yaml_source, env        text to a tree that knows its places; values of the environment in it
    schema                  what a bundle may say, with defaults and who may change what (marks)
    validate, checks        what is wrong with it, everything at once (errors, said)
    bundle                  all of that for one bundle
    compiler, published     every bundle of the folder, published as one file each
    watch                   the same again for what changes

From a dispatch to a session config, in a job:

    resolve                 the verb: everything below, within one budget of time
    choosing                which bundle (routes), preset (presets) and override (overrides) it is
    policy                  what of each layer is let through, with a verdict for every key
    layering, merge         one layer over the other, with the origin of every value (provenance)
    completing              what was left open (levels), the digest
    resolved                the frozen result

Afterwards: `stored` is the result in Redis, `amend` changes it while the session runs, `state` is who has the
session.
"""
