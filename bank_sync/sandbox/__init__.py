"""The practice bank: the StopNCII wire on a real socket, with fault switches; holds nothing on disk."""
