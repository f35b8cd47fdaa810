"""Where stores and the platform push what was uploaded: one small HTTP service beside the bridge."""
