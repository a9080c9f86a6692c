"""What meets at a relay: introducer, meeting point, ring. Roles that `relay/` mounts without knowing them."""
