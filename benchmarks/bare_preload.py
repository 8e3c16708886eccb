"""What the bare worker loads before it forks: the offline models, so that they make no difference."""

from agent.providers.offline import decoder, espeak

espeak.preload()
decoder.preload()
