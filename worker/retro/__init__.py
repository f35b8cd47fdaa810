"""The retro-hunt: what banks got lately is searched among the hashes of uploads that were cleared before."""
