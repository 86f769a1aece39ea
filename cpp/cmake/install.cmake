# What other projects link: headers, the static library, a CMake package and a pkg-config file, all relocatable. In a
# wheel they lie in the Python package, where `starskope-config` finds them.
if(SKBUILD)
  set(CMAKE_INSTALL_INCLUDEDIR starskope/include)
  set(CMAKE_INSTALL_LIBDIR starskope/lib)
endif()
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/starskope)

install(TARGETS starskope EXPORT starskope-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/starskope DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(EXPORT starskope-targets NAMESPACE starskope:: DESTINATION ${package_dir})

configure_package_config_file(cmake/starskope-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/generated/starskope-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/generated/starskope-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/generated/starskope-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/generated/starskope-config-version.cmake DESTINATION ${package_dir})

# Paths in it are relative to the file itself.
file(RELATIVE_PATH pc_to_lib /${CMAKE_INSTALL_LIBDIR}/pkgconfig /${CMAKE_INSTALL_LIBDIR})
file(RELATIVE_PATH pc_to_include /${CMAKE_INSTALL_LIBDIR}/pkgconfig /${CMAKE_INSTALL_INCLUDEDIR})
configure_file(cmake/starskope.pc.in ${CMAKE_CURRENT_BINARY_DIR}/generated/starskope.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/generated/starskope.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
