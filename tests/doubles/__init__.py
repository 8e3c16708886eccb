"""Servers on loopback that speak the providers' wire protocols and record everything they were sent."""
